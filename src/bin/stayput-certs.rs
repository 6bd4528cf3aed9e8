//! The same program with everything that makes or reads keys: what `stayput certs` and `stayput
//! kubeconfig` start.

use std::process::ExitCode;

use stayput::cli::{self, Certificates};

fn main() -> ExitCode {
    cli::main(&Certificates::within())
}
