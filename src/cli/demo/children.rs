//! The demo's processes: the agent and HAProxy. Both end with the demo, by their own process IDs.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::sandbox::Sandbox;
use super::{Failure, exit};

const HAPROXY: &str = "/usr/sbin/haproxy";
/// How long the agent may take to become ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running `stayput run`.
pub(super) struct Agent {
    child: tokio::sync::Mutex<Child>,
}

impl Agent {
    /// Starts the agent and waits until its control socket answers.
    pub(super) async fn start(sandbox: &Sandbox) -> Result<Self, Failure> {
        let log = std::fs::File::create(sandbox.path().join("agent.log")).map_err(os)?;
        let child = Command::new(std::env::current_exe().map_err(os)?)
            .args(sandbox.arguments())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(os)?;
        let agent = Self {
            child: tokio::sync::Mutex::new(child),
        };
        let deadline = Instant::now() + PATIENCE;
        while !sandbox.agent_answers().await {
            if let Ok(Some(_)) = agent.child.lock().await.try_wait() {
                return Err(not_started("agent", sandbox, "agent.log"));
            }
            if Instant::now() > deadline {
                return Err(not_started("agent", sandbox, "agent.log"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(agent)
    }

    /// Waits for the agent to end, which it does not by itself.
    pub(super) async fn ended(&self) -> Failure {
        let status = self.child.lock().await.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::new(
            exit::UNAVAILABLE,
            format!("the demo's agent ended: {status}"),
        )
    }
}

/// A running HAProxy of the demo's own.
pub(super) struct Haproxy {
    child: Child,
}

impl Haproxy {
    /// Starts HAProxy on the configuration that `stayput apply` writes; `None` where there is none.
    pub(super) async fn start(sandbox: &Sandbox) -> Result<Option<Self>, Failure> {
        if !Path::new(HAPROXY).exists() {
            return Ok(None);
        }
        sandbox.write_cluster(&super::BEFORE, None)?;
        sandbox.stayput(&["apply"]).await?;
        let log = std::fs::File::create(sandbox.path().join("haproxy.log")).map_err(os)?;
        let child = Command::new(HAPROXY)
            .arg("-W")
            .arg("-f")
            .arg(sandbox.path().join("var/lib/stayput/haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(os)?;
        let haproxy = Self { child };
        // A signal that comes before HAProxy is up would end it.
        let socket = sandbox.path().join("run/stayput/haproxy.sock");
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            if Instant::now() > deadline {
                return Err(not_started("HAProxy", sandbox, "haproxy.log"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(haproxy))
    }

    /// What makes it read its configuration again: SIGUSR2 to the master process.
    pub(super) fn reload(&self) -> Vec<String> {
        let kill = ["/usr/bin/kill", "/bin/kill"];
        let (Some(pid), Some(kill)) = (
            self.child.id(),
            kill.iter().find(|path| Path::new(path).exists()),
        ) else {
            return Vec::new();
        };
        vec![(*kill).to_owned(), "-USR2".to_owned(), pid.to_string()]
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // SIGTERM, so that the master process ends its workers too.
        if let Some(pid) = self.child.id()
            && let Ok(raw) = i32::try_from(pid)
            && let Some(pid) = rustix::process::Pid::from_raw(raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

fn not_started(who: &str, sandbox: &Sandbox, log: &str) -> Failure {
    let log = std::fs::read_to_string(sandbox.path().join(log)).unwrap_or_default();
    let text = format!("the demo's {who} did not start; its log:\n{log}");
    Failure::new(exit::UNAVAILABLE, text)
}

fn os(error: std::io::Error) -> Failure {
    Failure::new(exit::OS_ERROR, format!("cannot start the demo: {error}"))
}
