//! Programs beside the benchmark: started, looked at from outside, and ended by their own ids.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Result;

/// How long a program may take to end before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Linux reports processor time to programs in this unit on every architecture (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A running program with its log. It ends when the value is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

/// Memory of a process, in bytes (proc(5): `VmRSS`, `VmHWM`, `RssAnon`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    pub(crate) anonymous: u64,
}

impl Running {
    /// Starts a program; what it says goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// An error with the program's own words, if it has ended.
    pub(crate) fn must_run(&mut self) -> Result {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                Err(format!("a program ended ({status}); its log:\n{log}").into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Processor time of the process and its descendants so far, in user and kernel mode.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut ticks = 0;
        for pid in self.family() {
            ticks += ticks_of(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
        }
        Ok(TICK * ticks)
    }

    /// The process and its descendants.
    pub(crate) fn family(&self) -> Vec<u32> {
        let mut all = vec![self.pid()];
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            // One that has just ended has neither tasks nor children.
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                let children = children.split_whitespace();
                all.extend(children.filter_map(|child| child.parse::<u32>().ok()));
            }
            next += 1;
        }
        all
    }

    /// Memory of the process itself.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            let kilobytes: u64 = kilobytes.ok_or_else(|| format!("no {field} in {status}"))?;
            Result::Ok(kilobytes * 1024)
        };
        Ok(Memory {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
            anonymous: bytes("RssAnon")?,
        })
    }

    /// How many threads the process has.
    pub(crate) fn threads(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid()))?.count())
    }

    /// Whether every thread is traced by another process.
    pub(crate) fn is_traced(&self) -> Result<bool> {
        let mut traced = true;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            traced &= !status.lines().any(|line| line == "TracerPid:\t0");
        }
        Ok(traced)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: nothing to end.
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + LAST_WORDS;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The same command on one processor, so that a server and what asks it do not share one. Where
/// there is only one they must.
pub(crate) fn on_processor(number: usize, command: Command) -> Command {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        return command;
    }
    let mut pinned = Command::new("taskset");
    pinned.arg("-c").arg(number.to_string());
    pinned.arg(command.get_program()).args(command.get_args());
    pinned
}

/// Where a program lies, if the machine has it. Servers are often outside a user's PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// utime and stime of a line of /proc/PID/stat (proc(5)): fields 14 and 15, counted from behind the
/// program's name, which may hold spaces.
fn ticks_of(stat: &str) -> Result<u32> {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    match (ticks(), ticks()) {
        (Some(user), Some(kernel)) => Ok(user + kernel),
        _ => Err(format!("not a line of /proc/PID/stat: {stat}").into()),
    }
}
