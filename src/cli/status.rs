//! `stayput status`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::context::{Context, Failure, block_on};
use super::output::Output;
use super::{exit, output, show};
use crate::book::Origin;
use crate::clock;
use crate::control::client;
use crate::kubeadm::outlook as kubeadm;
use crate::peers::control::SERVICE;
use crate::peers::control::message::{Peers, State};
use crate::picture;
use crate::pki::outlook;
use crate::report::Surface;
use crate::root::Root;
use crate::status::{CertificatesStatus, DueCertificate, KubeadmStatus, Status};
use crate::surface::routes;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it again whenever it changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the process of the peers may take to answer, for what is one line.
const PEERS_PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn status(context: &Context, args: StatusArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    block_on(async {
        let mut shown: Option<(Status, String)> = None;
        loop {
            let status = read(context, &root).await?;
            let peers = peers(context, &root).await;
            let seen = (ageless(&status), peers);
            // Ages grow without anything having changed.
            if shown.as_ref() != Some(&seen) {
                if args.watch && std::io::stdout().is_terminal() {
                    output::write(b"\x1b[H\x1b[2J")?;
                }
                output::print(context.global.output, &status, |status| {
                    text(status, &seen.1)
                })?;
            }
            if !args.watch {
                return Ok(if status.certificates_ask() {
                    exit::DISAGREES
                } else {
                    exit::OK
                });
            }
            shown = Some(seen);
            tokio::time::sleep(PERIOD).await;
        }
    })
}

/// The agent's picture, or what the files say where no agent runs.
async fn read(context: &Context, root: &Root) -> Result<Status, Failure> {
    match client::get(root, "/v1/status").await {
        Err(error) if error.is_absent() => {
            let (view, provision) = show::saved(context, root)?;
            Ok(picture::of(&picture::Input {
                view: &view,
                provision,
                agent: None,
                problems: &[],
                left_out: &[],
                upstream_errors: &BTreeMap::new(),
                certificates: outlook::look(root, view.node.master().is_some(), now())
                    .map(|known| outlook::outlook(&known, now())),
                kubeadm: kubeadm::look(root, &kubeadm::Own::of(&view)).status(None),
            }))
        }
        other => Ok(other?),
    }
}

/// The process that spreads signed records, in a line for people; nothing where it does not answer at once.
async fn peers(context: &Context, root: &Root) -> String {
    if context.global.output == Output::Json {
        return String::new();
    }
    let asked = SERVICE.get_within::<Peers>(root, "/v1/peers", PEERS_PATIENCE);
    asked
        .await
        .map_or_else(|_| String::new(), |it| summary(&it))
}

fn summary(peers: &Peers) -> String {
    let members = &peers.members;
    let up: Vec<_> = members.iter().filter(|it| it.state == State::Up).collect();
    let others = up.iter().filter(|it| it.same_records == Some(false));
    let mut facts = vec![format!(
        "{} of {} other nodes are up",
        up.len(),
        members.iter().filter(|it| it.state != State::Gone).count()
    )];
    match others.count() {
        0 => {}
        1 => facts.push("1 has other records".to_owned()),
        many => facts.push(format!("{many} have other records")),
    }
    facts.extend(peers.problems.iter().cloned());
    format!("\npeers: {}\n", facts.join("; "))
}

fn now() -> i64 {
    i64::try_from(clock::unix_now()).unwrap_or(i64::MAX)
}

fn ageless(status: &Status) -> Status {
    let mut status = status.clone();
    for due in status.certificates.iter_mut().flat_map(|it| &mut it.due) {
        due.seconds_left = None;
    }
    for master in &mut status.masters {
        master.age_seconds = None;
    }
    for surface in &mut status.surfaces {
        surface.at = None;
    }
    status
}

fn text(status: &Status, peers: &str) -> String {
    let mut text = heading(status);
    text += "\n";
    text += &output::table(
        ["MASTER", "ADDRESSES", "ORIGIN", "AGE", "FOLLOWS"],
        status.masters.iter().map(|master| {
            [
                master.name.to_string(),
                output::addresses(&master.addresses),
                master.origin.map_or("-", |o| o.as_str()).to_owned(),
                master.age_seconds.map_or("-".to_owned(), clock::age),
                master
                    .follows
                    .as_ref()
                    .map_or("-".to_owned(), ToString::to_string),
            ]
        }),
    );
    text += "\n";
    text += &output::table(
        ["SURFACE", "STATE", "DETAIL"],
        status.surfaces.iter().map(|surface| {
            [
                surface.surface.as_str().to_owned(),
                surface.condition.as_str().to_owned(),
                surface.detail.clone(),
            ]
        }),
    );
    if !status.servers.is_empty() {
        text += "\n";
        text += &output::table(
            ["SERVER", "ADDRESS", "STATE", "CHECK", "SESSIONS"],
            status.servers.iter().map(|server| {
                [
                    server.name.clone(),
                    server.address.clone(),
                    server.status.clone(),
                    server.check.clone(),
                    server.sessions.to_string(),
                ]
            }),
        );
    }
    if let Some(certificates) = &status.certificates {
        text += &self::certificates(certificates);
    }
    if let Some(kubeadm) = &status.kubeadm {
        text += &pinned(kubeadm);
    }
    text + peers + &remarks(status)
}

/// What is due, or in one line that nothing is.
fn certificates(status: &CertificatesStatus) -> String {
    let mut facts = vec![status.loudness.as_str().to_owned()];
    facts.extend(status.last_run.as_ref().map(|at| format!("last run {at}")));
    let next = status.next.as_ref();
    facts.extend(next.map(|next| format!("next due {} from {}", next.id, next.at)));
    if let Some(runs) = &status.runs {
        let next = runs.next.as_ref();
        facts.push(next.map_or("a run is in progress".to_owned(), |at| {
            format!("next run {at}")
        }));
    }
    let mut text = format!("\ncertificates: {}\n", facts.join(", "));
    if !status.due.is_empty() {
        let left = |due: &DueCertificate| match due.seconds_left {
            None => "-".to_owned(),
            Some(seconds) => match u64::try_from(seconds) {
                Ok(left) => clock::age(left),
                Err(_) => format!("{} ago", clock::age(seconds.unsigned_abs())),
            },
        };
        text += &output::table(
            ["CERTIFICATE", "STATE", "URGENCY", "EXPIRES IN", "FILE"],
            status.due.iter().map(|due| {
                [
                    due.id.clone(),
                    due.state.clone(),
                    due.loudness.as_str().to_owned(),
                    left(due),
                    due.path.display().to_string(),
                ]
            }),
        );
    }
    text
}

/// What kube-apiserver advertises, and how much is pinned.
fn pinned(status: &KubeadmStatus) -> String {
    let mut facts = vec![status.loudness.as_str().to_owned()];
    if let Some(address) = status.advertises {
        facts.push(format!("advertises {address} ({})", status.advertise));
    }
    if let Some(at) = &status.audited {
        let places = match status.pins {
            0 => "nothing pins".to_owned(),
            1 => "1 place pins".to_owned(),
            many => format!("{many} places pin"),
        };
        let worst = status.worst.map_or_else(String::new, |worst| {
            format!(
                ", worst {} (`stayput kubeadm audit` shows them)",
                worst.as_str()
            )
        });
        facts.push(format!("{places} as of {at}{worst}"));
    }
    if let Some(runs) = &status.runs {
        if runs.running {
            facts.push("a run is in progress".to_owned());
        }
        facts.extend(runs.next.as_ref().map(|at| format!("next run {at}")));
    }
    format!("\nkubeadm: {}\n", facts.join(", "))
}

fn heading(status: &Status) -> String {
    let node = match &status.node.name {
        Some(name) => format!("master {name}"),
        None => format!("worker {}", status.node.kubernetes_name),
    };
    let provisioned = status
        .node
        .provisioned
        .as_ref()
        .map_or_else(String::new, |it| {
            format!(", provisioned since {} ({})", it.since, it.how)
        });
    let agent = match &status.agent {
        Some(agent) => format!("agent {} runs since {}", agent.pid, agent.since),
        None => "no agent runs on this node; this is the saved book".to_owned(),
    };
    let troubles = status.troubles();
    let degraded = if troubles.is_empty() {
        String::new()
    } else {
        format!("degraded: {}\n", troubles.join(", "))
    };
    format!(
        "{node}{provisioned}\ndomain {}, endpoint {}, generation {}\nstayput {}, {agent}\n{degraded}",
        status.domain, status.endpoint, status.generation, status.version
    )
}

/// What signed records make of the cluster file, and what is overridden.
fn signed(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for master in &status.masters {
        let (name, label) = (&master.name, master.name.label());
        if let (Some(Origin::Override), Some(record)) = (master.origin, &master.record) {
            lines.push(format!(
                "{name}: overridden on this node until {label} speaks for itself; its record of {} says {}",
                record.signed,
                output::addresses(&record.addresses)
            ));
        }
        if let (false, Some(record)) = (master.file_addresses.is_empty(), &master.record) {
            lines.push(format!(
                "{name}: the cluster file says {}, its own record says {}, which counts",
                output::addresses(&master.file_addresses),
                output::addresses(&record.addresses)
            ));
        }
        if master.added {
            lines.push(format!(
                "{name}: a master by its signed record; the cluster file does not name it"
            ));
        }
    }
    let removed = status.removed.iter();
    lines.extend(removed.map(|it| format!("{}: removed by the record of {}", it.name, it.signed)));
    lines
}

/// Everything that an operator should read as a sentence.
fn remarks(status: &Status) -> String {
    let mut lines = Vec::new();
    for problem in &status.configuration_problems {
        lines.push(format!("the last good cluster file is in force: {problem}"));
    }
    // A running agent's surface says so itself.
    if !status.rescue.is_empty() && status.agent.is_none() {
        let given = status.rescue.iter();
        let given: Vec<String> = given
            .map(|(name, old)| format!("{}={old}", name.label()))
            .collect();
        lines.push(format!("a rescue is in force: {}", given.join(" ")));
    }
    lines.extend(status.conflicts.iter().map(|c| format!("conflict: {c}")));
    lines.extend(signed(status));
    for master in &status.masters {
        if let Some(error) = &master.upstream_error {
            lines.push(format!("{}: {error}", master.name));
        }
    }
    if let Some(certificates) = &status.certificates {
        let remarks = certificates.remarks.iter();
        lines.extend(remarks.map(|remark| format!("certificates: {remark}")));
        let error = certificates
            .runs
            .as_ref()
            .and_then(|runs| runs.last_error.as_ref());
        lines.extend(error.map(|error| format!("certificates: the agent's last run: {error}")));
    }
    if let Some(kubeadm) = &status.kubeadm {
        let remarks = kubeadm.remarks.iter();
        lines.extend(remarks.map(|remark| format!("kubeadm: {remark}")));
        let error = kubeadm.runs.as_ref();
        let error = error.and_then(|runs| runs.last_error.as_ref());
        lines.extend(error.map(|error| format!("kubeadm: the agent's last run: {error}")));
    }
    for surface in &status.surfaces {
        let name = surface.surface.as_str();
        if let Some(error) = &surface.last_error
            && *error != surface.detail
        {
            let error = match surface.surface {
                Surface::Routes => routes::overcome(error),
                _ => error.clone(),
            };
            lines.push(format!("{name}: overcome: {error}"));
        }
        lines.extend(surface.notices.iter().map(|n| format!("{name}: {n}")));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{}\n", lines.join("\n"))
}
