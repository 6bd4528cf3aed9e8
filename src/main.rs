//! The command line: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use stayput::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.wants_json();
    match cli::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprint!("{}", failure.text(json));
            ExitCode::from(failure.code)
        }
    }
}
