//! Which program does the commands that make, read or use keys.
//!
//! Linked into the agent, their libraries would be more than a megabyte of its memory, on every node and
//! for nothing: the agent cannot read a key. So there are two programs of one library, and a
//! person sees one.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::certs::{self, CertsCommand};
use super::context::{Context, Failure};
use super::exit;
use super::kubeadm::{self, KubeadmCommand};
use super::kubeconfig::{self, KubeconfigArgs};
use super::peers::{self, RecordsCommand};

/// The other program's name.
const PROGRAM: &str = "stayput-certs";

/// Who does what concerns certificates. The linker takes only what is named, so that a program with
/// [`beside`](Self::beside) holds none of it.
#[derive(Debug)]
pub struct Certificates {
    pub(super) certs: fn(&Context, CertsCommand) -> Result<u8, Failure>,
    pub(super) kubeadm: fn(&Context, KubeadmCommand) -> Result<u8, Failure>,
    pub(super) records: fn(&Context, RecordsCommand) -> Result<u8, Failure>,
    pub(super) kubeconfig: fn(&Context, KubeconfigArgs) -> Result<u8, Failure>,
}

impl Certificates {
    /// This program.
    pub fn within() -> Self {
        Self {
            certs: certs::certs,
            kubeadm: kubeadm::kubeadm,
            records: peers::records,
            kubeconfig: kubeconfig::kubeconfig,
        }
    }

    /// The one beside it.
    pub fn beside() -> Self {
        Self {
            certs: |_, _| Err(become_the_other()),
            kubeadm: |_, _| Err(become_the_other()),
            records: |_, _| Err(become_the_other()),
            kubeconfig: |_, _| Err(become_the_other()),
        }
    }
}

/// This process goes on as the other program, with the same arguments; it returns only to tell why not.
fn become_the_other() -> Failure {
    match std::env::current_exe().map(|own| own.with_file_name(PROGRAM)) {
        Ok(program) => {
            let mut command = Command::new(&program);
            // In what it says it is the same program.
            command.arg0("stayput").args(std::env::args_os().skip(1));
            refused(&program, &command.exec())
        }
        Err(error) => refused(&PathBuf::from(PROGRAM), &error),
    }
}

fn refused(program: &std::path::Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "; install it beside stayput, from the same build",
        _ => "",
    };
    let text = format!("cannot start {}: {error}{advice}", program.display());
    Failure::new(exit::UNAVAILABLE, text)
}
