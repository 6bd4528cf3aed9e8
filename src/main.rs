//! The command line: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use stayput::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            for line in failure.message.lines() {
                eprintln!("stayput: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}
