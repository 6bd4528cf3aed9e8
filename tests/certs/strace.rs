//! Death at any system call: a real command is killed at the n-th call of each kind that changes
//! files, for every n that it makes (strace's injection).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

/// System calls that change files. A kill at one comes before it, and so after the one before it.
const CALLS: [&str; 9] = [
    "write",
    "fsync",
    "fchmod",
    "ftruncate",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "mkdirat",
];

/// A command that is to die.
pub(crate) struct Victim<'a> {
    pub(crate) arguments: &'a [&'a str],
    /// What it reads from standard input.
    pub(crate) input: Option<&'a Path>,
}

impl Victim<'_> {
    /// Runs it on nodes that `node` gives, and looks at each after the kill. Every kind of call in
    /// `expected` has to be met.
    pub(crate) fn kill_everywhere(
        &self,
        expected: &[&str],
        mut node: impl FnMut() -> Sandbox,
        mut look: impl FnMut(Sandbox, &str),
    ) {
        let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
        for call in CALLS {
            for n in 1.. {
                let sandbox = node();
                let context = format!("{:?} killed at {call} {n}", self.arguments);
                if !self.dies(&sandbox, call, n, &context) {
                    break;
                }
                *kills.entry(call).or_default() += 1;
                look(sandbox, &context);
                assert!(n < 1000, "{context}: no end");
            }
        }
        for call in expected {
            assert!(kills.contains_key(call), "{call} was never met: {kills:?}");
        }
        println!("{:?}: survived {kills:?}", self.arguments);
    }

    /// Runs it; `false` where it came to its end, because it makes fewer such calls.
    pub(crate) fn dies(&self, sandbox: &Sandbox, call: &str, n: u32, context: &str) -> bool {
        let command = sandbox.command(self.arguments);
        let inject = format!("inject={call}:signal=SIGKILL:when={n}");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(input) = self.input {
            strace.stdin(File::open(input).unwrap());
        } else {
            strace.stdin(Stdio::null());
        }
        let output = strace.output().unwrap();
        let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
        assert!(killed || output.status.success(), "{context}: {output:?}");
        killed
    }
}
