//! What the benchmarks share: a pretend node, the programs beside it, and honest figures.
//!
//! Everything is written below `target/tmp`, and every process ends with the value that holds it,
//! also when a benchmark fails.

#![allow(dead_code, reason = "each benchmark takes what it needs")]
#![allow(clippy::allow_attributes, reason = "as above")]

pub(crate) mod agent;
pub(crate) mod figures;
pub(crate) mod haproxy;
pub(crate) mod issuers;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod question;
pub(crate) mod servers;
pub(crate) mod verdict;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

/// A benchmark that cannot go on says why, and ends.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number behind an argument such as `--changes`, given as `cargo bench -- --changes 100`.
pub(crate) fn argument(name: &str, default: usize) -> Result<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    if arguments.next().is_none() {
        return Ok(default);
    }
    let number = arguments.next().and_then(|text| text.parse().ok());
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| format!("{name} needs a whole number above 0").into())
}

/// A folder below `target/tmp`, removed with the value. The name is short: HAProxy's socket lies in
/// it, and a Unix socket's path ends at 108 bytes.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    let below = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(below)?;
    Ok(tempfile::Builder::new().prefix("b").tempdir_in(below)?)
}

/// Polls until something is there, without a pause that would add to what is measured.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {PATIENCE:?} in vain until {what}").into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}
