//! `stayput kubeadm unpin`.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::output::Output;
use crate::cli::{exit, output};
use crate::config;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::report::Report;
use crate::kubeadm::unpin::run::{Options, preview, run};
use crate::kubeadm::unpin::site::Site;
use crate::lock;
use crate::pki::session::{self, Hold};
use crate::process::Program;
use crate::root::Root;

/// How long the kubelet's restart may take.
const LIMIT: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(in crate::cli) struct UnpinArgs {
    /// Show everything that is to be changed on this node, with whom it waits for, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; needed where standard input is no terminal
    #[arg(long, short)]
    yes: bool,
    /// Wait for the other nodes, at most this long, instead of ending when they are next
    #[arg(long, value_name = "TIME", value_parser = time)]
    wait: Option<Duration>,
    /// Go on without this dead node or master; may be given several times
    #[arg(long, value_name = "NODE")]
    without: Vec<String>,
    /// What restarts the kubelet: an absolute path and arguments
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "/usr/bin/systemctl restart kubelet"
    )]
    kubelet_restart: String,
    /// Issue certificates although the clock stands before the newest time that this node has seen
    #[arg(long)]
    trust_clock: bool,
}

pub(super) fn unpin(context: &Context, args: UnpinArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let kubelet = program(&args.kubelet_restart)?;
    let without: BTreeSet<String> = args.without.iter().cloned().collect();
    if args.dry_run {
        let report = look(context, &root, without)?;
        return finish(context, &report);
    }
    put_back(&root)?;
    let report = look(context, &root, without.clone())?;
    if report.complete {
        return finish(context, &report);
    }
    let waits = args.wait.is_some();
    if report.is_ready() || waits {
        consent(context, &args, &report)?;
    }
    let (cluster, node) = context.load(&root)?;
    let options = Options {
        wait: args.wait,
        kubelet,
        trust_clock: args.trust_clock,
    };
    let report = block_on(async {
        let site = Site::open(&root, cluster, node, without).await?;
        Ok(Box::pin(run(&site, &options, tell)).await)
    })?;
    finish(context, &report)
}

/// First of all: what a run that died has left out is what the cluster may lack. Who is at work on
/// manifests right now has done that itself, and is waited for before anything is changed.
fn put_back(root: &Root) -> Result<(), Failure> {
    let mut hold = match Hold::take_within(root, tell, Duration::ZERO) {
        Err(session::Error::Lock(lock::Error::Held { .. })) => return Ok(()),
        hold => hold?,
    };
    hold.put_back_manifests()?;
    hold.notices().iter().for_each(|notice| tell(notice));
    Ok(())
}

fn look(context: &Context, root: &Root, without: BTreeSet<String>) -> Result<Report, Failure> {
    let (cluster, node) = context.load(root)?;
    block_on(async {
        let site = Site::open(root, cluster, node, without).await?;
        Ok(preview(&site).await?)
    })
}

/// Prints what came of it.
fn finish(context: &Context, report: &Report) -> Result<u8, Failure> {
    output::print(context.global.output, report, Report::text)?;
    Ok(if report.complete {
        exit::OK
    } else {
        exit::DISAGREES
    })
}

/// Shows what is to come, and asks whoever sits there.
fn consent(context: &Context, args: &UnpinArgs, report: &Report) -> Result<(), Failure> {
    if args.yes {
        if context.global.output == Output::Table {
            show(&report.text());
        }
        return Ok(());
    }
    let refusal = "nothing has changed; look at it with --dry-run, and give --yes";
    if !std::io::stdin().is_terminal() || context.global.output == Output::Json {
        return Err(Failure::new(
            exit::USAGE,
            format!("nobody can be asked here: {refusal}"),
        ));
    }
    show(&format!(
        "{}\nChange this, stage by stage? [y/N] ",
        report.text()
    ));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::new(exit::OS_ERROR, format!("cannot read the answer: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(exit::DISAGREES, "nothing has changed")),
    }
}

/// A terminal that is gone stops nothing: whoever is told has the signal, too.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

fn tell(line: &str) {
    show(&format!("stayput: {line}\n"));
}

fn program(text: &str) -> Result<Program, Failure> {
    let mut words = text.split_whitespace();
    let path = words.next().unwrap_or_default();
    let program = Program::new(Path::new(path), LIMIT);
    let program = program.map_err(|error| Failure::new(exit::USAGE, error))?;
    Ok(program.args(words))
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = config::span(text).ok_or("write a time such as 30m")?;
    Ok(Duration::from_secs(seconds))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Session(error) => return error.into(),
            Error::Moment(error) => return error.into(),
            Error::Dead(_) | Error::Api(_) | Error::Etcd(_) => exit::UNAVAILABLE,
            Error::NoNode(_) | Error::Unknown(_) => exit::BAD_DATA,
            Error::Backup(_) | Error::Noted(_) | Error::File(_) => exit::OS_ERROR,
            _ => exit::DISAGREES,
        };
        Self::new(code, error)
    }
}
