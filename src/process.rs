//! Programs that the agent starts: `haproxy -c`, the reload command, hooks.
//!
//! They run as root, so nothing about them is left to chance: the program is an absolute path and
//! no shell sees it, the environment is empty but for a fixed `PATH` and `LANG=C`, the folder is
//! `/`, standard input is `/dev/null`, the output that is kept is bounded, and a time limit ends
//! the program together with every process it started (its process group).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::time::sleep;

/// Where programs that are started in turn are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of each output stream is kept: its end, because errors stand there.
const KEPT_OUTPUT: usize = 16 * 1024;

/// How long output is still awaited after the program itself has ended. A process that it left
/// behind may hold the other end of the pipe for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// A program with its arguments, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    limit: Duration,
}

/// What a program left behind that ended with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The end of standard output and of standard error, in this order; at most 16 KiB each.
    pub output: String,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A relative path would depend on the agent's own folder or `PATH`.
    #[error("program '{}' must be given by its absolute path, such as /usr/bin/systemctl", .0.display())]
    Relative(PathBuf),
    /// It could not be started at all.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not; `NotFound` where it is not installed.
        source: std::io::Error,
    },
    /// Waiting for it failed.
    #[error("cannot wait for {}: {source}", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("{} ended with {status}{}", program.display(), Tail(.output))]
    Failed {
        /// The program.
        program: PathBuf,
        /// Exit code or signal.
        status: ExitStatus,
        /// As in [`Finished::output`].
        output: String,
    },
    /// It did not end in time; it was killed with all that it had started.
    #[error("{} was killed because it took longer than {limit:?}", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time that it had.
        limit: Duration,
    },
}

impl Error {
    /// Whether the program is not installed.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl Program {
    /// A program by its absolute path, with a time limit.
    pub fn new(path: &Path, limit: Duration) -> Result<Self, Error> {
        if !path.is_absolute() {
            return Err(Error::Relative(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            arguments: Vec::new(),
            limit,
        })
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Runs the program to its end. Where the caller stops waiting, the program is killed.
    pub async fn run(&self) -> Result<Finished, Error> {
        self.run_until(std::future::pending(), self.limit).await
    }

    /// The same for a program that must not be cut off: when `stop` comes, the program and all that it
    /// started are asked to end (SIGTERM), and killed if they have not after `grace`.
    pub async fn run_until(
        &self,
        stop: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<Finished, Error> {
        let mut group = self.start()?;
        let stop = stop.shared();
        let over = async {
            tokio::select! {
                () = sleep(self.limit) => self.limit,
                () = async { stop.clone().await; sleep(grace).await } => grace,
            }
        };
        let ended = tokio::select! {
            ended = group.finish(stop.clone()) => Ok(ended),
            limit = over => Err(limit),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(limit) => {
                group.kill().await;
                return Err(Error::TimedOut {
                    program: self.path.clone(),
                    limit,
                });
            }
        };
        let (status, output) = ended.map_err(|source| Error::Wait {
            program: self.path.clone(),
            source,
        })?;
        if status.success() {
            return Ok(Finished { output });
        }
        Err(Error::Failed {
            program: self.path.clone(),
            status,
            output,
        })
    }

    fn start(&self) -> Result<Group, Error> {
        tokio::process::Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map(Group)
            .map_err(|source| Error::Start {
                program: self.path.clone(),
                source,
            })
    }
}

/// A started program, leader of a process group of its own. Dropped before its end, it is killed.
struct Group(Child);

impl Group {
    /// Waits for the program and what it says; asks it to end when `stop` comes.
    async fn finish(
        &mut self,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<(ExitStatus, String)> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let both = async {
                tokio::join!(keep_end(stdout, &mut out), keep_end(stderr, &mut err));
            };
            let (mut both, mut stop) = (std::pin::pin!(both), std::pin::pin!(stop));
            let (mut closed, mut asked) = (false, false);
            let status = loop {
                tokio::select! {
                    status = self.0.wait() => break status?,
                    () = &mut both, if !closed => closed = true,
                    () = &mut stop, if !asked => {
                        asked = true;
                        self.signal(Signal::TERM);
                    }
                }
            };
            if !closed {
                // What the program itself wrote is in the pipe already.
                let _ = tokio::time::timeout(OUTPUT_GRACE, both).await;
            }
            status
        };
        Ok((status, text(&out, &err)))
    }

    /// Ends the program and all that it started.
    async fn kill(&mut self) {
        self.signal(Signal::KILL);
        // It was killed: this only takes its exit status from the kernel.
        let _ = self.0.wait().await;
    }

    fn signal(&self, signal: Signal) {
        // An id exists as long as the program has not been waited for, so it is not another's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // ESRCH: it has just ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Reads to the end and keeps the last bytes only.
async fn keep_end(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    // A failed read ends the output as its end does; the exit status tells the rest.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..surplus);
    }
}

fn text(out: &[u8], err: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(out).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&String::from_utf8_lossy(err));
    text
}

/// Output behind a message: nothing, or its last lines.
struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINES: usize = 20;
        let lines: Vec<&str> = self.0.lines().filter(|l| !l.trim().is_empty()).collect();
        match &lines[lines.len().saturating_sub(LINES)..] {
            [] => Ok(()),
            last => write!(f, ": {}", last.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Program {
        Program::new(Path::new("/bin/sh"), limit)
            .unwrap()
            .args(["-c", script])
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn gives_a_clean_environment_and_takes_the_output() {
        let finished = shell("env; pwd; cat; echo to-stderr >&2", LONG)
            .run()
            .await
            .unwrap();
        let lines: Vec<&str> = finished.output.lines().collect();
        assert!(lines.contains(&"LANG=C"), "{lines:?}");
        assert!(
            lines.contains(&format!("PATH={PATH}").as_str()),
            "{lines:?}"
        );
        assert!(
            !lines
                .iter()
                .any(|l| l.starts_with("HOME=") || l.starts_with("CARGO"))
        );
        assert!(lines.contains(&"/"), "{lines:?}");
        assert_eq!(lines.last(), Some(&"to-stderr"));
    }

    #[tokio::test]
    async fn a_failure_names_program_status_and_words() {
        let error = shell("echo this is wrong >&2; exit 3", LONG)
            .run()
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/bin/sh"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("this is wrong"), "{text}");
    }

    #[tokio::test]
    async fn arguments_are_not_seen_by_a_shell() {
        let echo = Program::new(Path::new("/bin/echo"), LONG).unwrap();
        let finished = echo.arg("$HOME; `id`").run().await.unwrap();
        assert_eq!(finished.output, "$HOME; `id`\n");
    }

    #[test]
    fn a_relative_program_is_refused() {
        let error = Program::new(Path::new("haproxy"), LONG).unwrap_err();
        assert!(error.to_string().contains("absolute path"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_told_apart() {
        let error = Program::new(Path::new("/nonexistent/haproxy"), LONG).unwrap();
        assert!(error.run().await.unwrap_err().is_missing());
    }

    #[tokio::test]
    async fn the_limit_ends_the_program_and_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        // The child of the program holds the fifo open until it dies.
        let script = format!("sleep 1000 <>{} & wait", fifo.display());
        let limit = Duration::from_millis(300);
        let error = shell(&script, limit).run().await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        // A fifo without a reader refuses a writer that does not wait (fifo(7)).
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let deadline = std::time::Instant::now() + LONG;
        loop {
            let writer = rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty());
            if writer.is_err_and(|e| e == rustix::io::Errno::NXIO) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the grandchild lives");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn asked_to_end_a_program_may_tidy_up() {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let program = |trap: &str| {
            let ready = ready.display();
            let script = format!("trap '{trap}' TERM; touch {ready}; while :; do sleep 0.01; done");
            shell(&script, LONG)
        };
        let stop = || async {
            while !ready.exists() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let tidy = program("echo tidy; exit 3").run_until(stop(), LONG).await;
        let text = tidy.unwrap_err().to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("tidy"), "{text}");

        std::fs::remove_file(&ready).unwrap();
        let grace = Duration::from_millis(50);
        let deaf = program("").run_until(stop(), grace).await;
        let error = deaf.unwrap_err();
        assert!(
            matches!(error, Error::TimedOut { limit, .. } if limit == grace),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_process_left_behind_does_not_hold_the_caller() {
        // It keeps the output's pipe open for longer than the limit.
        let program = shell("sleep 40 & echo started", Duration::from_secs(30));
        let finished = program.run().await.unwrap();
        assert_eq!(finished.output, "started\n");
    }

    #[tokio::test]
    async fn only_the_end_of_much_output_is_kept() {
        let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
        let finished = shell(script, LONG).run().await.unwrap();
        assert!(finished.output.len() <= KEPT_OUTPUT);
        assert!(finished.output.ends_with("line 4999\n"));
    }
}
