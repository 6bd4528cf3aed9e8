//! `stayput demo`: the main job in a scratch folder, without root.
//!
//! Real parts as far as they are here: the agent is this program, HAProxy is the machine's own. Only
//! the three masters are pretend ones, on loopback addresses: small HTTP servers that say who they are.

mod certificates;
mod children;
mod masters;
mod sandbox;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::context::{Context, Failure, block_on};
use super::{exit, output};
use children::Children;
use masters::Master;
use sandbox::{MASTER, Sandbox, WORKER};

/// Where master-2 is before and after the change.
const BEFORE: [&str; 3] = ["127.77.0.11", "127.77.0.12", "127.77.0.13"];
const AFTER: &str = "127.77.0.22";

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after the tour instead of staying up until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Use this empty folder, which nobody else may write to, and keep it [default: a scratch folder
    /// that is removed]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn demo(_context: &Context, args: DemoArgs) -> Result<u8, Failure> {
    let sandbox = Sandbox::new(args.dir)?;
    block_on(async {
        let stopped = stop_signal().map_err(|error| Failure::new(exit::OS_ERROR, error))?;
        let mut children = Children::default();
        let done = tokio::select! {
            done = tour(&sandbox, &mut children, args.once) => done,
            () = stopped => Ok(()),
        };
        children.end().await;
        done
    })?;
    Ok(exit::OK)
}

/// Ends when the demo is to end: Ctrl-C, SIGTERM, or a terminal that was closed. Listens from the
/// call on.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn tour(sandbox: &Sandbox, children: &mut Children, once: bool) -> Result<(), Failure> {
    say(&format!("A node, below {}\n", sandbox.path().display()))?;
    let mut masters = Vec::new();
    for (number, address) in BEFORE.iter().enumerate() {
        masters.push(Master::start(number + 1, address, sandbox.api_port()).await?);
    }
    let haproxy = children.start_haproxy(sandbox).await?;
    if !haproxy {
        say(
            "HAProxy is not on this machine: that part is left out (Debian: apt-get install haproxy).\n",
        )?;
    }
    sandbox.write_cluster(WORKER, &BEFORE, children.reload())?;
    sandbox.write_cluster(MASTER, &BEFORE, None)?;
    children.start_agent(sandbox).await?;

    heading("master-1's certificates, in a folder of its own: on names, not on addresses")?;
    say("$ stayput certs init --new-cluster\n")?;
    say(&sandbox
        .on_master(&["certs", "init", "--new-cluster"])
        .await?)?;
    let certificates = certificates::files(sandbox)?;

    heading("Before: three masters, and what each surface says")?;
    show(sandbox, haproxy).await?;

    heading(&format!("master-2 moves from {} to {AFTER}", BEFORE[1]))?;
    masters[1] = Master::start(2, AFTER, sandbox.api_port()).await?;
    say(&format!("$ stayput event master-2 {AFTER}\n"))?;
    say(&sandbox.stayput(&["event", "master-2", AFTER]).await?)?;
    // A master that is told the same by its cluster file has nothing to renew.
    sandbox.write_cluster(MASTER, &[BEFORE[0], AFTER, BEFORE[2]], None)?;
    sandbox.on_master(&["certs", "renew"]).await?;

    heading("After")?;
    show(sandbox, haproxy).await?;
    say(&certificates::compared(
        &certificates,
        &certificates::files(sandbox)?,
    ))?;
    say("Only the map from name to address has changed.\n")?;
    if !once {
        let text = sandbox.suggestions(haproxy);
        heading("It stays up: play with it in another terminal, end it with Ctrl-C")?;
        say(&text)?;
        return Err(children.agent_ended().await);
    }
    Ok(())
}

async fn show(sandbox: &Sandbox, haproxy: bool) -> Result<(), Failure> {
    say("hosts file:\n")?;
    say(&sandbox.hosts()?)?;
    say(&format!("DNS, asked at {}:\n", sandbox.dns()))?;
    for name in ["api", "master-1", "master-2", "master-3"] {
        say(&format!("  {}\n", sandbox.ask(name).await?))?;
    }
    if haproxy {
        say(&format!(
            "HAProxy, connections through the endpoint 127.0.0.1:{} are answered by:\n",
            sandbox.endpoint_port()
        ))?;
        for answer in sandbox.connect(Duration::from_secs(10)).await? {
            say(&format!("  {answer}\n"))?;
        }
    }
    say("\n$ stayput check\n")?;
    say(&sandbox.stayput(&["check"]).await?)
}

fn heading(text: &str) -> Result<(), Failure> {
    say(&format!("\n── {text}\n\n"))
}

fn say(text: &str) -> Result<(), Failure> {
    output::write(text.as_bytes())
}
