//! Times that a suite with real Kubernetes measures: printed, and kept beside the build.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Prints how long something took, and appends it to `target/kubernetes-times.txt`.
pub(crate) fn measured(what: &str, took: Duration) {
    let line = format!("measured: {what}: {:.2} s\n", took.as_secs_f64());
    print!("{line}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(target.join("kubernetes-times.txt"));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}
