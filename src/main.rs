//! The program, but for certificates: arguments in, exit code out. Everything else is in the library.
//!
//! Commands that make or read keys are `stayput-certs`, which lies beside this program and is started
//! by it: what issues certificates is no part of the process that runs all the time.

use std::process::ExitCode;

use stayput::cli::{self, Certificates};

fn main() -> ExitCode {
    cli::main(&Certificates::beside())
}
