//! The processes of this machine's network that run a program, by procfs (proc(5)).
//!
//! A host-network static pod's process is one of those with the pod's command and in our own network
//! namespace; another cluster's control plane that runs in pods of this one is not.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Where processes are looked for.
#[derive(Debug, Clone)]
pub struct Processes {
    proc: PathBuf,
}

/// A process, told apart from a later one that gets the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

/// As execve(2) gave them, the program's name first.
type Arguments = Vec<Vec<u8>>;

/// The processes cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at {}: {source}; reading a process's network namespace takes CAP_SYS_PTRACE", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Processes {
    /// Those that a mounted procfs shows; usually `/proc`.
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
        }
    }

    /// Those that run `command`, given as a container's command and arguments. Where some have
    /// exactly these arguments it is those (a container's command may be a shell); otherwise those
    /// with a program of that base name (the manifest may have been edited since).
    pub fn running(&self, command: &[String]) -> Result<BTreeSet<Id>, Error> {
        let Some(name) = command.first().map(|program| base(program.as_bytes())) else {
            return Ok(BTreeSet::new());
        };
        let own = self.namespace(Path::new("self"))?;
        let (mut named, mut exact) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.entries()? {
            let Some(pid) = entry.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Some((arguments, id)) = self.look(pid)? else {
                continue;
            };
            let named_so = arguments.first().is_some_and(|first| base(first) == name);
            let whole = ends_with(&arguments, command);
            if !(named_so || whole) || own.is_none() || self.namespace(Path::new(&entry))? != own {
                continue;
            }
            if named_so {
                named.insert(id);
            }
            if whole {
                exact.insert(id);
            }
        }
        Ok(if exact.is_empty() { named } else { exact })
    }

    fn entries(&self) -> Result<Vec<OsString>, Error> {
        let read = || -> io::Result<Vec<OsString>> {
            let entries = std::fs::read_dir(&self.proc)?;
            entries.map(|entry| Ok(entry?.file_name())).collect()
        };
        read().map_err(|source| self.error(Path::new(""), source))
    }

    /// A process's arguments; `None` where it has ended, or is the kernel's.
    fn look(&self, pid: u32) -> Result<Option<(Arguments, Id)>, Error> {
        let entry = PathBuf::from(pid.to_string());
        let Some(line) = self.read(&entry.join("cmdline"))? else {
            return Ok(None);
        };
        let Some(stat) = self.read(&entry.join("stat"))? else {
            return Ok(None);
        };
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        // One that has ended and was not waited for has no arguments any more.
        let started = (!line.is_empty()).then(|| started(&stat)).flatten();
        let arguments = || line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        Ok(started.map(|started| (arguments(), Id { pid, started })))
    }

    fn read(&self, below: &Path) -> Result<Option<Vec<u8>>, Error> {
        present(std::fs::read(self.proc.join(below))).map_err(|source| self.error(below, source))
    }

    fn namespace(&self, process: &Path) -> Result<Option<PathBuf>, Error> {
        let link = process.join("ns/net");
        present(std::fs::read_link(self.proc.join(&link)))
            .map_err(|source| self.error(&link, source))
    }

    fn error(&self, below: &Path, source: io::Error) -> Error {
        let path = self.proc.join(below);
        Error { path, source }
    }
}

/// `None` for a process that has ended meanwhile.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The 22nd field of `stat`. The second is a name in brackets that may hold anything.
fn started(stat: &[u8]) -> Option<u64> {
    let behind = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = str::from_utf8(&stat[behind..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The last component of a program's path.
fn base(program: &[u8]) -> &[u8] {
    let name = program.rsplit(|byte| *byte == b'/').next();
    name.unwrap_or(program)
}

/// Whether a process's arguments end with a container's command: a script's begin with its
/// interpreter. An argument with a reference to a variable, `$(NAME)`, is taken for any.
fn ends_with(arguments: &[Vec<u8>], command: &[String]) -> bool {
    let Some(skipped) = arguments.len().checked_sub(command.len()) else {
        return false;
    };
    let pairs = arguments[skipped..].iter().zip(command);
    command.len() > 1
        && pairs.into_iter().all(|(argument, wanted)| {
            argument.as_slice() == wanted.as_bytes() || wanted.contains("$(")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A procfs with these processes: number, namespace, arguments.
    fn procfs(processes: &[(u32, &str, &[&str])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let make = |entry: &str, namespace: &str, arguments: &[&str], started: u32| {
            let folder = dir.path().join(entry);
            std::fs::create_dir_all(folder.join("ns")).unwrap();
            std::os::unix::fs::symlink(namespace, folder.join("ns/net")).unwrap();
            let mut line = arguments.join("\0");
            if !line.is_empty() {
                line.push('\0');
            }
            std::fs::write(folder.join("cmdline"), line).unwrap();
            let zeros = "0 ".repeat(18);
            let stat = format!("{entry} (a) b) (c) S {zeros}{started} 0 0\n");
            std::fs::write(folder.join("stat"), stat).unwrap();
        };
        make("self", "net:[1]", &["stayput"], 1);
        make("sys", "net:[1]", &["kube-scheduler"], 1);
        for (pid, namespace, arguments) in processes {
            make(&pid.to_string(), namespace, arguments, pid * 10);
        }
        dir
    }

    fn running(processes: &[(u32, &str, &[&str])], command: &[&str]) -> Vec<u32> {
        let dir = procfs(processes);
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        let ids = Processes::new(dir.path()).running(&command).unwrap();
        for id in &ids {
            assert_eq!(id.started, u64::from(id.pid) * 10);
        }
        ids.iter().map(|id| id.pid).collect()
    }

    #[test]
    fn finds_the_pod_s_process() {
        let ours = "net:[1]";
        let scheduler = ["kube-scheduler", "--leader-elect=true"];
        for (what, processes, want) in [
            (
                "by its name",
                &[(7, ours, &["/usr/local/bin/kube-scheduler", "-v"][..])][..],
                &[7][..],
            ),
            (
                "not in another network",
                &[(7, "net:[2]", &scheduler[..])],
                &[],
            ),
            (
                "not by a longer name",
                &[(7, ours, &["kube-scheduler-2"][..])],
                &[],
            ),
            (
                "not as an argument",
                &[(7, ours, &["grep", "kube-scheduler"][..])],
                &[],
            ),
            ("nothing that has ended", &[(7, ours, &[][..])], &[]),
            (
                "the one with these arguments, if there is one",
                &[
                    (7, ours, &scheduler[..]),
                    (8, ours, &["kube-scheduler", "--version"][..]),
                ],
                &[7],
            ),
            (
                "the wrapped one",
                &[(
                    7,
                    ours,
                    &["/bin/sh", "kube-scheduler", "--leader-elect=true"][..],
                )],
                &[7],
            ),
        ] {
            assert_eq!(running(processes, &scheduler), want, "{what}");
        }
    }

    #[test]
    fn a_shell_is_told_from_other_shells() {
        let command = ["/bin/sh", "-c", "exec scheduler $(FLAGS)"];
        let processes: [(u32, &str, &[&str]); 3] = [
            (7, "net:[1]", &["/bin/sh", "-c", "exec scheduler -v"]),
            (8, "net:[1]", &["sh"]),
            (9, "net:[1]", &["/bin/sh", "-l", "x"]),
        ];
        assert_eq!(running(&processes, &command), [7]);
    }

    #[test]
    fn sees_this_very_process() {
        let me: Vec<String> = std::env::args().collect();
        let ids = Processes::new(Path::new("/proc")).running(&me).unwrap();
        assert!(ids.iter().any(|id| id.pid == std::process::id()));
    }

    #[test]
    fn without_procfs_nothing_is_guessed() {
        let error = Processes::new(Path::new("/nonexistent"))
            .running(&["a".into()])
            .unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
