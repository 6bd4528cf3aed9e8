//! `stayput kubeadm audit`.

use std::fmt::Write;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output, show};
use crate::kubeadm::audit::{self, Audit, cluster};
use crate::kubeadm::pin::{Pin, Severity};

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// Look at this node's files alone, not at what the API, etcd and the kubelet say; always so in a
    /// sandbox (--root): there the cluster is not asked
    #[arg(long)]
    this_node: bool,
}

/// What was found, and where it was sought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// Whether API, etcd and the kubelet were asked.
    cluster_asked: bool,
    /// Whether they would have been, but for the sandbox.
    #[serde(skip)]
    spared: bool,
    #[serde(flatten)]
    found: Audit,
}

pub(super) fn audit(context: &Context, args: AuditArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    // The addresses that a pretended node's files name are not its own.
    let sandbox = !root.is_system();
    let cluster_asked = !args.this_node && !sandbox;
    let (mut found, asked) = block_on(async {
        let view = show::in_force(context, &root).await?;
        let asked = if cluster_asked {
            cluster::look(&root, &view).await.into()
        } else {
            Audit::default()
        };
        Ok((audit::node(&root, &view), asked))
    })?;
    found.add(asked);
    let code = if !found.pins.is_empty() {
        exit::DISAGREES
    } else if !found.unread.is_empty() {
        exit::OS_ERROR
    } else if !found.not_looked_at.is_empty() {
        exit::UNAVAILABLE
    } else {
        exit::OK
    };
    let shown = Shown {
        cluster_asked,
        spared: sandbox && !args.this_node,
        found,
    };
    output::print(context.global.output, &shown, text)?;
    Ok(code)
}

fn text(all: &Shown) -> String {
    let mut text = String::new();
    let found = &all.found;
    for severity in [Severity::Fatal, Severity::Degraded, Severity::Misleading] {
        let pins: Vec<&Pin> = found
            .pins
            .iter()
            .filter(|p| p.severity == severity)
            .collect();
        if pins.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}: {}", severity.as_str(), meaning(severity));
        for pin in pins {
            let line = pin
                .line
                .map_or(String::new(), |line| format!(", line {line}"));
            let _ = writeln!(text, "  {}{line}", shown(&pin.place));
            let _ = writeln!(text, "    {} {}", shown(&pin.what), shown(&pin.value));
            let _ = writeln!(text, "    breaks: {}", pin.breaks);
            let _ = writeln!(text, "    instead: {}", pin.instead);
        }
        text.push('\n');
    }
    for reason in &found.unread {
        let _ = writeln!(text, "not looked at: {}", shown(reason));
    }
    for missed in &found.not_looked_at {
        let _ = writeln!(text, "{}", shown(&missed.to_string()));
    }
    if all.spared {
        text.push_str("in a sandbox the cluster is not asked\n");
    }
    let _ = match (found.pins.len(), found.is_whole()) {
        (0, true) => writeln!(text, "nothing pins an address that can change"),
        (0, false) => writeln!(text, "nothing pins in what could be looked at"),
        (1, _) => writeln!(text, "1 place pins an address that can change"),
        (n, _) => writeln!(text, "{n} places pin addresses that can change"),
    };
    if !found.pins.is_empty() {
        text.push_str("`stayput kubeadm unpin` mends what can be mended, step by step\n");
    }
    text
}

fn meaning(severity: Severity) -> &'static str {
    match severity {
        Severity::Fatal => "this master or the whole cluster stops when the address changes",
        Severity::Degraded => "a part stops, or does not come back from its next restart",
        Severity::Misleading => "nothing that runs; a later command or a reader is misled",
    }
}

/// Control characters of others' files do not reach the terminal.
fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}
