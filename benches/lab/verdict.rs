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

/// The exit code of a benchmark.
pub(crate) fn exit_code(outcome: Result<Verdict>) -> ExitCode {
    match outcome {
        Ok(Verdict { failed: false }) => ExitCode::SUCCESS,
        Ok(Verdict { failed: true }) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the benchmark could not be run: {error}");
            ExitCode::from(2)
        }
    }
}
