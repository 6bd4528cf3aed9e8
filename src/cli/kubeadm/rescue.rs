//! `stayput kubeadm rescue`.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{event, exit, output, routes as shown, show};
use crate::config::rescue::{PATH, render};
use crate::file;
use crate::kubeadm::rescue::{self, Judged, Refusal, Rescue};
use crate::name::Name;
use crate::report::{Report, Surface, SurfaceResult};
use crate::root::Root;
use crate::surface::routes::{self, Shown};
use crate::view::View;

#[derive(Debug, Args)]
pub(in crate::cli) struct RescueArgs {
    /// A master and the address that it had: master-1=10.77.0.11
    #[arg(value_name = "NAME=OLD", required_unless_present = "end")]
    masters: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "end")]
    dry_run: bool,
    /// End the rescue: take its file, addresses and routes away
    #[arg(long, conflicts_with = "masters")]
    end: bool,
}

/// What was done on this node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rescued {
    /// Old addresses by master.
    masters: Rescue,
    /// Masters that have not moved, by this node's book.
    unmoved: Vec<Name>,
    /// Masters whose new address is not known here.
    unknown: Vec<Name>,
    /// Whether the rescue is in force on this node.
    in_force: bool,
    /// What this node has and lacks.
    node: Option<Shown>,
    /// What the running agent, or this command, did.
    report: Option<Report>,
    /// What to do next, one step each.
    next: Vec<String>,
}

/// How a rescue ended on this node.
#[derive(Debug, Serialize)]
struct Ended {
    /// Whether there was one.
    ended: bool,
    /// What the running agent, or this command, did; absent where there was nothing to do.
    #[serde(flatten)]
    report: Option<Report>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(exit::BAD_DATA, refusal)
    }
}

impl From<file::Error> for Failure {
    fn from(error: file::Error) -> Self {
        Self::new(exit::OS_ERROR, error)
    }
}

pub(super) fn rescue(context: &Context, args: RescueArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    if args.end {
        return end(context, &root);
    }
    let rescued = block_on(async {
        let mut view = show::in_force(context, &root).await?;
        let rescue = rescue::ordered(&view.cluster, &args.masters, root.loopback())?;
        let all = rescue::added(&view.cluster.routes.rescue, &rescue)?;
        let judged = rescue::judge(&view, &rescue)?;
        let needed = judged.needed;
        let mut rescued = told(&all, judged);
        if !needed {
            return Ok(rescued);
        }
        nobody_has(&root, &view, &all).await?;
        let now = view.clone();
        view = overlaid(&view, &all);
        if args.dry_run {
            rescued.node = Some(routes::would_be(&root, &now, &view).await?);
        } else {
            root.create_folders(Path::new("/etc/stayput"), 0o755)
                .map_err(folder)?;
            let text = render(&view.cluster, &all);
            file::replace(&root, Path::new(PATH), text.as_bytes(), 0o644)?;
            rescued.report = Some(event::reload(context, &root).await?);
            rescued.in_force = root.is_system();
            if rescued.in_force {
                rescued.next = rescue::next(&all);
            }
            rescued.node = Some(routes::show(&root, &view).await?);
        }
        Ok(rescued)
    })?;
    output::print(context.global.output, &rescued, text)?;
    Ok(if failed(rescued.report.as_ref()) {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

fn told(rescue: &Rescue, judged: Judged) -> Rescued {
    Rescued {
        masters: rescue.clone(),
        unmoved: judged.unmoved,
        unknown: judged.unknown,
        in_force: false,
        node: None,
        report: None,
        next: Vec::new(),
    }
}

/// The view with the rescue in it.
fn overlaid(view: &View, rescue: &Rescue) -> View {
    let mut cluster = crate::config::Cluster::clone(&view.cluster);
    cluster.routes.rescue.clone_from(rescue);
    View {
        cluster: cluster.into(),
        ..view.clone()
    }
}

/// Refuses an address that this node is to have and that somebody on the link has already. Of the
/// others' addresses their own nodes make sure.
async fn nobody_has(root: &Root, view: &View, rescue: &Rescue) -> Result<(), Failure> {
    let own = view.node.master().and_then(|own| rescue.get(own));
    let Some(old) = own.filter(|_| root.is_system()) else {
        return Ok(());
    };
    match routes::occupant(*old).await? {
        None => Ok(()),
        Some(occupant) => Err(Failure::new(
            exit::BAD_DATA,
            routes::in_use(*old, &occupant),
        )),
    }
}

fn end(context: &Context, root: &Root) -> Result<u8, Failure> {
    if !file::remove(root, Path::new(PATH))? {
        let ended = Ended {
            ended: false,
            report: None,
        };
        output::print(context.global.output, &ended, |_| {
            "no rescue is in force on this node\n".to_owned()
        })?;
        return Ok(exit::OK);
    }
    let report = block_on(event::reload(context, root))?;
    let text = format!(
        "the rescue is over on this node; run `stayput kubeadm rescue --end` on every other one\n{}",
        event::text(&report)
    );
    let ended = Ended {
        ended: true,
        report: Some(report),
    };
    output::print(context.global.output, &ended, |_| text)?;
    Ok(if failed(ended.report.as_ref()) {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

fn folder(error: std::io::Error) -> Failure {
    Failure::new(exit::OS_ERROR, format!("cannot make /etc/stayput: {error}"))
}

/// Whether the routes could not follow; what the other surfaces did is not the point here.
fn failed(report: Option<&Report>) -> bool {
    let surfaces = report.iter().flat_map(|report| &report.surfaces);
    let mut routes = surfaces.filter(|it| it.surface == Surface::Routes);
    routes.any(|it| it.result == SurfaceResult::Failed)
}

fn text(rescued: &Rescued) -> String {
    let mut text = String::new();
    let old = |name: &Name| {
        rescued
            .masters
            .get(name)
            .map_or(String::new(), IpAddr::to_string)
    };
    for name in &rescued.unmoved {
        let (label, old) = (name.label(), old(name));
        let _ = writeln!(
            text,
            "{label}: nothing to rescue, by this node's book it is at {old}; if it has moved, tell where it is: stayput event {label} ADDRESS"
        );
    }
    for name in &rescued.unknown {
        let label = name.label();
        let _ = writeln!(
            text,
            "{label}: where it is now is not known here; tell it: stayput event {label} ADDRESS"
        );
    }
    let Some(node) = &rescued.node else {
        return text;
    };
    text += if rescued.in_force {
        "the rescue is in force on this node\n\n"
    } else if rescued.report.is_some() {
        "the rescue is written to /etc/stayput/rescue.yaml and not in force: in a sandbox the kernel's tables are not touched\n\n"
    } else {
        "nothing has been done; this is what would be\n\n"
    };
    text += &shown::text(node);
    for surface in rescued.report.iter().flat_map(|report| &report.surfaces) {
        if surface.surface == Surface::Routes && surface.result == SurfaceResult::Failed {
            let _ = writeln!(text, "\nnot all of it could be done: {}", surface.detail);
        }
    }
    if !rescued.next.is_empty() {
        text += "\nnext:\n";
    }
    for (number, step) in (1..).zip(&rescued.next) {
        let _ = writeln!(text, "  {number}. {step}");
    }
    text
}
