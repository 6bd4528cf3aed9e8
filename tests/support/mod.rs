//! What tests with real processes share: waiting, running, ending, and saying what is missing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The program under test.
pub(crate) const STAYPUT: &str = env!("CARGO_BIN_EXE_stayput");

/// How long anything may take before a test gives up on it. Nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How often something is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until it is seen; what was seen instead is told at the end.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// The same with a patience of its own.
pub(crate) fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(instead) => assert!(Instant::now() < deadline, "never: {what}; {instead}"),
        }
        std::thread::sleep(PAUSE);
    }
}

/// The same for a plain condition.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()).ok_or_else(String::new));
}

/// Whether everything that a test needs is here. Where everything is required, what is missing
/// fails the test; else it is said loudly and the test is over.
pub(crate) fn here(root: bool, programs: &[&str]) -> bool {
    let mut missing = Vec::new();
    if root && !rustix::process::geteuid().is_root() {
        missing.push("the rights of root".to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&folders)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .collect();
    for program in programs {
        if !folders.iter().any(|folder| folder.join(program).exists()) {
            missing.push(format!("the program {program}"));
        }
    }
    if missing.is_empty() {
        return true;
    }
    skipped(&format!("{} (see tests/run)", missing.join(", ")));
    false
}

/// Says loudly that something is missing; fails the test where everything is required.
pub(crate) fn skipped(missing: &str) {
    let required = std::env::var_os("CI").is_some()
        || std::env::var_os("STAYPUT_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "missing: {missing}");
    eprintln!("SKIPPED: missing: {missing}");
}

/// What a finished program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The exit code; -1 where a signal ended it.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output of a program that must have succeeded.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// Standard error of a program that must have ended with this exit code.
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.err
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// How much of a log is shown when a test panics.
const SHOWN_LINES: usize = 200;

/// A program that runs beside the test. It ends with this value, also when the test panics; then
/// the end of its log is shown.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes into the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
            log: log.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let mut text = Vec::new();
        let mut file = std::fs::File::open(&self.log).unwrap();
        file.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its end, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until an agent says that it is ready.
    pub(crate) fn ready(&mut self) {
        until("the agent is ready", || {
            self.must_run();
            self.log().lines().any(|line| line.ends_with("ready"))
        });
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        eventually("the process ends", || {
            self.ended()
                .ok_or_else(|| format!("its log:\n{}", self.log()))
        })
    }

    /// Ends it at once, as a power failure does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Fails the test if it has ended.
    pub(crate) fn must_run(&mut self) {
        let ended = self.ended();
        assert!(ended.is_none(), "{ended:?}\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("== {}\n{shown}", self.log.display());
        }
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // First politely: HAProxy's master process ends its workers then.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
