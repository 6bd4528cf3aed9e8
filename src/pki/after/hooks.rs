//! The operator's programs after a renewal (`certificates.afterRenew`).
//!
//! They run as root, so one that somebody else could change is not started: the file and every
//! folder above it must belong to root (or to whoever runs stayput, in a sandbox) and be writable by
//! nobody else. A folder such as /tmp, where everybody may make files but not replace those of others
//! (sticky), is no obstacle. Symlinks are resolved first, and what they lead to is what is looked at
//! and started. The path is looked up below the root: a sandbox starts its own programs.
//!
//! A program gets its arguments from the cluster file, and behind them the ids of what was renewed
//! that it is for, such as `apiserver etcd-server`. No shell sees them. Environment, folder, output and
//! time limit: see [`crate::process`].

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::cluster::Hook;
use crate::process::{self, Program};
use crate::root::Root;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster file names none.
    #[error("the list 'command' is empty; name a program in it")]
    Empty,
    /// It is not there, or cannot be looked at.
    #[error("cannot find {}: {source}", path.display())]
    Find {
        /// As the cluster file names it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change what root would run.
    #[error("{} is not started: {reason}", path.display())]
    Unsafe {
        /// The program, resolved.
        path: PathBuf,
        /// What somebody else could change, and what to do.
        reason: String,
    },
    /// It was started and failed, or could not be started.
    #[error(transparent)]
    Program(#[from] process::Error),
}

/// The renewed ids that a program is for; empty where it has nothing to do.
pub fn concerns<'a>(hook: &Hook, renewed: &[&'a str]) -> Vec<&'a str> {
    let wanted = |id: &&&str| hook.certificates.is_empty() || hook.certificates.contains(**id);
    renewed.iter().filter(wanted).copied().collect()
}

/// Runs a program with these ids behind its arguments. Returns what it said.
pub async fn run(root: &Root, hook: &Hook, ids: &[&str]) -> Result<String, Error> {
    let (program, arguments) = hook.command.split_first().ok_or(Error::Empty)?;
    let program = trusted(root, Path::new(program))?;
    let program = Program::new(&program, Duration::from_secs(hook.limit))?
        .args(arguments)
        .args(ids);
    Ok(program.run().await?.output)
}

/// The program's real path, if nobody but root can change what is there.
fn trusted(root: &Root, path: &Path) -> Result<PathBuf, Error> {
    if !path.is_absolute() {
        return Err(process::Error::Relative(path.to_owned()).into());
    }
    let find = |source| Error::Find {
        path: path.to_owned(),
        source,
    };
    let real = root.host_path(path).map_err(find)?;
    let own = rustix::process::geteuid().as_raw();
    for (place, is_program) in real
        .ancestors()
        .zip(std::iter::once(true).chain(std::iter::repeat(false)))
    {
        let found = std::fs::symlink_metadata(place).map_err(find)?;
        if let Some(reason) = exposure(place, &found, is_program, own) {
            let path = real.clone();
            return Err(Error::Unsafe { path, reason });
        }
        // What lies above a sandbox is not the sandbox's.
        if place == root.path() {
            break;
        }
    }
    Ok(real)
}

/// How somebody else could change what is at a place.
fn exposure(place: &Path, found: &std::fs::Metadata, is_program: bool, own: u32) -> Option<String> {
    const STICKY: u32 = 0o1000;
    let (owner, mode, place) = (found.uid(), found.mode(), place.display());
    if is_program && !found.is_file() {
        return Some("it is no regular file".to_owned());
    }
    if owner != 0 && owner != own {
        return Some(format!("{place} belongs to user {owner}; chown it to root"));
    }
    let sticky = found.is_dir() && mode & STICKY != 0;
    if mode & 0o022 != 0 && !sticky {
        let mode = mode & 0o7777;
        return Some(format!(
            "{place} has mode {mode:04o}; take the others' right to write away (chmod go-w)"
        ));
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Makes a script by another process: a program that this one has open for writing at the
    /// moment when a parallel test forks could not be started (ETXTBSY).
    pub(in crate::pki::after) fn program(path: &Path, script: &str) {
        let text = path.with_extension("text");
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        let copied = std::process::Command::new("cp")
            .arg(&text)
            .arg(path)
            .status();
        assert!(copied.unwrap().success());
        mode(path, 0o755);
    }

    fn sandbox(script: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("usr/local/bin");
        std::fs::create_dir_all(&folder).unwrap();
        program(&folder.join("hook"), script);
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn hook(command: &[&str], certificates: &[&str]) -> Hook {
        Hook {
            command: command.iter().map(ToString::to_string).collect(),
            certificates: certificates.iter().map(ToString::to_string).collect(),
            limit: 60,
        }
    }

    #[tokio::test]
    async fn gets_its_arguments_and_what_was_renewed() {
        let (_dir, root) = sandbox("printf '<%s>' \"$@\"");
        let hook = hook(&["/usr/local/bin/hook", "a b", "$(id)"], &[]);
        let said = run(&root, &hook, &["apiserver", "etcd-peer"]).await;
        assert_eq!(said.unwrap().trim(), "<a b><$(id)><apiserver><etcd-peer>");
    }

    #[test]
    fn is_for_what_it_names() {
        let renewed = ["apiserver", "etcd-peer"];
        assert_eq!(concerns(&hook(&["/x"], &[]), &renewed), renewed);
        let one = hook(&["/x"], &["etcd-peer", "sa"]);
        assert_eq!(concerns(&one, &renewed), ["etcd-peer"]);
        let none = hook(&["/x"], &["admin.conf"]);
        assert_eq!(concerns(&none, &renewed), [""; 0]);
    }

    #[tokio::test]
    async fn is_not_started_if_somebody_else_could_change_it() {
        let hook = hook(&["/usr/local/bin/hook"], &[]);
        for (place, bits, told) in [
            ("usr/local/bin/hook", 0o777, "bin/hook has mode 0777"),
            ("usr/local/bin/hook", 0o775, "chmod go-w"),
            ("usr/local", 0o757, "usr/local has mode 0757"),
        ] {
            let (dir, root) = sandbox("touch /ran; echo ran");
            mode(&dir.path().join(place), bits);
            let error = run(&root, &hook, &[]).await.unwrap_err().to_string();
            assert!(error.contains("is not started"), "{error}");
            assert!(error.contains(told), "{error}");
        }
        let (dir, root) = sandbox("echo ran");
        mode(&dir.path().join("usr/local"), 0o1777);
        assert_eq!(run(&root, &hook, &[]).await.unwrap(), "ran\n");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path().join("usr/local/bin"), Some(4711), None).unwrap();
            let error = run(&root, &hook, &[]).await.unwrap_err().to_string();
            assert!(error.contains("belongs to user 4711"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_symlink_is_followed_inside_the_root() {
        let (dir, root) = sandbox("echo ran");
        let link = dir.path().join("usr/link");
        std::os::unix::fs::symlink("/usr/local/bin/hook", link).unwrap();
        assert_eq!(
            run(&root, &hook(&["/usr/link"], &[]), &[]).await.unwrap(),
            "ran\n"
        );
        // The machine's own /bin/true is not the sandbox's.
        let error = run(&root, &hook(&["/bin/true"], &[]), &[])
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Find { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_told() {
        let (_dir, root) = sandbox("echo no disk >&2; exit 3");
        for (command, told) in [
            (&["/usr/local/bin/hook"][..], "no disk"),
            (&["hook"][..], "absolute path"),
            (&["/usr/local/bin"][..], "no regular file"),
            (&["/usr/local/bin/none"][..], "/usr/local/bin/none"),
            (&[][..], "empty"),
        ] {
            let error = run(&root, &hook(command, &[]), &[]).await.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
