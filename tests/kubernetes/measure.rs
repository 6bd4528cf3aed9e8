//! Times, printed and kept: nothing is judged by them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Prints a time, and appends it to `kubernetes-times.txt` in cargo's target folder.
pub(crate) fn measured(what: &str, time: Duration) {
    let line = format!("measured: {what}: {:.2} s\n", time.as_secs_f64());
    print!("{line}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(target.join("kubernetes-times.txt"));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Looks again and again until it is seen, and says how long that took; what was seen instead is told
/// at the end of the patience. Every wait here may last for as long as a kubelet's back-off.
pub(crate) fn within<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        match look() {
            Ok(seen) => return (seen, began.elapsed()),
            Err(instead) => assert!(
                began.elapsed() < patience,
                "not within {patience:?}: {what}; {instead}"
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
