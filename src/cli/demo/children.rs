//! The demo's processes: the agent and HAProxy. Both end with the demo, by their own process IDs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::sandbox::{Sandbox, WORKER};
use super::{Failure, exit};

const HAPROXY: &str = "/usr/sbin/haproxy";
/// How long a process may take to become ready.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a process may take to end before it is killed; longer than the agent's own limits.
const FAREWELL: Duration = Duration::from_secs(10);

/// What runs beside the demo. It is owned outside of the tour, so that a signal that cuts the tour
/// anywhere finds every process that was started; [`Self::end`] ends them.
#[derive(Default)]
pub(super) struct Children {
    agent: Option<Child>,
    haproxy: Option<Child>,
}

impl Children {
    /// Starts `stayput run` and waits until its control socket answers.
    pub(super) async fn start_agent(&mut self, sandbox: &Sandbox) -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe().map_err(os)?);
        command.args(sandbox.arguments()).arg("run");
        let agent = self.agent.insert(start(command, sandbox, "agent.log")?);
        let deadline = Instant::now() + PATIENCE;
        while !sandbox.agent_answers().await {
            must_start(agent, deadline, sandbox, "agent")?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts HAProxy on the configuration that `stayput apply` writes; tells whether the machine
    /// has one.
    pub(super) async fn start_haproxy(&mut self, sandbox: &Sandbox) -> Result<bool, Failure> {
        if !Path::new(HAPROXY).exists() {
            return Ok(false);
        }
        sandbox.write_cluster(WORKER, &super::BEFORE, None)?;
        sandbox.stayput(&["apply"]).await?;
        let mut command = Command::new(HAPROXY);
        command
            .arg("-W")
            .arg("-f")
            .arg(sandbox.path().join("var/lib/stayput/haproxy.cfg"));
        let haproxy = self.haproxy.insert(start(command, sandbox, "haproxy.log")?);
        // A signal to reload that comes before HAProxy is up would end it.
        let socket = sandbox.path().join("run/stayput/haproxy.sock");
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            must_start(haproxy, deadline, sandbox, "haproxy")?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(true)
    }

    /// What makes HAProxy read its configuration again: SIGUSR2 to the master process.
    pub(super) fn reload(&self) -> Option<Vec<String>> {
        let pid = self.haproxy.as_ref()?.id()?;
        let kill = ["/usr/bin/kill", "/bin/kill"];
        let kill = kill.iter().find(|path| Path::new(path).exists())?;
        Some(vec![
            (*kill).to_owned(),
            "-USR2".to_owned(),
            pid.to_string(),
        ])
    }

    /// Waits for the agent to end, which it does not by itself.
    pub(super) async fn agent_ended(&mut self) -> Failure {
        let Some(agent) = &mut self.agent else {
            return std::future::pending().await;
        };
        let status = agent.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::new(
            exit::UNAVAILABLE,
            format!("the demo's agent ended: {status}"),
        )
    }

    /// Ends both: SIGTERM, by which HAProxy's master process ends its workers too, and SIGKILL for
    /// what is still there after a while. Returns when nothing is left.
    pub(super) async fn end(self) {
        let mut children: Vec<Child> = self.agent.into_iter().chain(self.haproxy).collect();
        for pid in children.iter().filter_map(pid) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = tokio::time::Instant::now() + FAREWELL;
        for child in &mut children {
            let ended = tokio::time::timeout_at(deadline, child.wait()).await;
            if ended.is_err()
                && let Some(pid) = pid(child)
            {
                let _ = kill_process_group(pid, Signal::KILL);
                // Only a process in uninterruptible sleep outlives this.
                let _ = timeout(Duration::from_secs(1), child.wait()).await;
            }
        }
    }
}

/// Starts a process in a group of its own, so that Ctrl-C reaches the demo alone. What it says goes
/// to a new file in the sandbox.
fn start(mut command: Command, sandbox: &Sandbox, log: &str) -> Result<Child, Failure> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(new_file(&sandbox.path().join(log)).map_err(os)?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(os)
}

/// A file that nobody else has put there (`O_EXCL`).
fn new_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The process ID of a child that has not been waited for.
fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Fails when the process has ended, or has had its time.
fn must_start(
    child: &mut Child,
    deadline: Instant,
    sandbox: &Sandbox,
    who: &str,
) -> Result<(), Failure> {
    let runs = matches!(child.try_wait(), Ok(None));
    if runs && Instant::now() < deadline {
        return Ok(());
    }
    let log = sandbox.path().join(format!("{who}.log"));
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let text = format!("the demo's {who} did not start; its log:\n{log}");
    Err(Failure::new(exit::UNAVAILABLE, text))
}

fn os(error: std::io::Error) -> Failure {
    Failure::new(exit::OS_ERROR, format!("cannot start the demo: {error}"))
}
