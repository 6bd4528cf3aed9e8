//! What is required of the figures, and how that becomes an exit code.

use std::process::ExitCode;

use super::Result;

/// What a benchmark found; a requirement that is not met makes it fail.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    failed: bool,
}

impl Verdict {
    /// Says whether a requirement is met.
    pub(crate) fn require(&mut self, what: &str, met: bool) {
        self.failed |= !met;
        println!("required: {what}: {}", if met { "met" } else { "NOT MET" });
    }
}

/// Says whether an aim is reached; nothing fails if not.
pub(crate) fn aim(what: &str, reached: bool) {
    println!(
        "aim: {what}: {}",
        if reached { "reached" } else { "not reached" }
    );
}

/// Runs a benchmark. `cargo test --all-targets` starts benchmarks too, unoptimized, where figures
/// mean nothing: only `cargo bench` says `--bench`.
pub(crate) fn exit_code(benchmark: impl FnOnce() -> Result<Verdict>) -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("not measured: use cargo bench");
        return ExitCode::SUCCESS;
    }
    match benchmark() {
        Ok(Verdict { failed: false }) => ExitCode::SUCCESS,
        Ok(Verdict { failed: true }) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the benchmark could not be run: {error}");
            ExitCode::from(2)
        }
    }
}
