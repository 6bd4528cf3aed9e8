//! `stayput event` and `stayput provisioned`.

use clap::Args;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::context::{Context, Failure, LOCK_PATIENCE, block_on};
use super::{exit, output};
use crate::clock;
use crate::control::client;
use crate::engine::{ALL, Engine, Pending};
use crate::lock::{self, Lock};
use crate::own;
use crate::report::{DoneBy, Report};
use crate::request::{self, Look, Provisioned, Records, Told};
use crate::root::Root;

#[derive(Debug, Args)]
pub(super) struct EventArgs {
    /// The master that has moved: its short or its full name
    #[arg(required_unless_present = "interface", requires = "addresses")]
    name: Option<String>,
    /// Where it is now
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Look at this node's own address instead, and act if it changed
    #[arg(long, value_name = "IF", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["name", "addresses"])]
    interface: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ProvisionedArgs {
    /// Take it back: this master's HAProxy uses all masters again
    #[arg(long)]
    undo: bool,
}

/// How often an agent that starts or stops is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked of the agent, or done here if there is none.
enum Wish {
    Told(Told),
    Look(Look),
    Provisioned(Provisioned),
    Recorded(Records),
    Reload,
}

pub(super) fn event(context: &Context, args: EventArgs) -> Result<u8, Failure> {
    let wish = match (args.interface, args.name) {
        (Some(interface), _) => Wish::Look(Look {
            interface: Some(interface).filter(|name| !name.is_empty()),
        }),
        (None, name) => Wish::Told(Told {
            name: name.unwrap_or_default(),
            addresses: args.addresses,
        }),
    };
    fulfil(context, wish)
}

pub(super) fn provisioned(context: &Context, args: ProvisionedArgs) -> Result<u8, Failure> {
    let provisioned = !args.undo;
    fulfil(context, Wish::Provisioned(Provisioned { provisioned }))
}

fn fulfil(context: &Context, wish: Wish) -> Result<u8, Failure> {
    let root = context.root()?;
    let report = block_on(fulfilled(context, &root, &wish))?;
    output::print(context.global.output, &report, text)?;
    Ok(if report.failed() {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

async fn fulfilled(context: &Context, root: &Root, wish: &Wish) -> Result<Report, Failure> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match ask(root, wish).await {
            Err(error) if error.is_absent() => {}
            other => return Ok(other?),
        }
        // An agent that starts or stops has the lock, but does not listen yet or any more.
        match lock::take(root, lock::BOOK, Duration::ZERO) {
            Ok(lock) => return alone(context, root, &lock, wish).await,
            Err(lock::Error::Held { .. }) if Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads the cluster file and what lies beside it again, and brings every surface to it: by the agent,
/// or where none runs by this command.
pub(super) async fn reload(context: &Context, root: &Root) -> Result<Report, Failure> {
    fulfilled(context, root, &Wish::Reload).await
}

/// Takes what signed records say into the book: by the agent, or where none runs by this command.
pub(super) async fn recorded(
    context: &Context,
    root: &Root,
    records: Records,
) -> Result<Report, Failure> {
    fulfilled(context, root, &Wish::Recorded(records)).await
}

async fn ask(root: &Root, wish: &Wish) -> Result<Report, client::Error> {
    match wish {
        Wish::Told(told) => client::post(root, "/v1/event", told).await,
        Wish::Look(look) => client::post(root, "/v1/interface", look).await,
        Wish::Provisioned(it) => client::post(root, "/v1/provisioned", it).await,
        Wish::Recorded(records) => client::post(root, "/v1/records", records).await,
        Wish::Reload => client::post(root, "/v1/reload", &()).await,
    }
}

/// The same work without an agent.
async fn alone(
    context: &Context,
    root: &Root,
    lock: &Lock,
    wish: &Wish,
) -> Result<Report, Failure> {
    let mut engine = context.engine(root, lock).await?;
    let report = carry_out(&mut engine, wish).await?.finish().await;
    engine.close().await;
    Ok(report)
}

async fn carry_out(engine: &mut Engine, wish: &Wish) -> Result<Pending, Failure> {
    match wish {
        Wish::Told(told) => {
            let event = request::told(&engine.view(), told, engine.loopback())?;
            Ok(engine.handle(&event).await?)
        }
        Wish::Look(_) => Ok(own::look(engine).await?),
        Wish::Recorded(records) => {
            let (event, left_out) = request::recorded(&engine.view(), records, engine.loopback())?;
            let mut pending = engine.handle(&event).await?;
            pending.notice(&left_out);
            Ok(pending)
        }
        // The files are read already. An address that cannot be seen now is no reason to do nothing.
        Wish::Reload => match own::look(engine).await {
            Ok(pending) => Ok(pending),
            Err(_) => Ok(engine.repair(&ALL).await),
        },
        Wish::Provisioned(Provisioned { provisioned }) => {
            engine.must_be_master()?;
            Ok(engine.set_provisioned(*provisioned).await)
        }
    }
}

/// A report for people.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.done_by == DoneBy::Command {
        text += "no agent runs on this node: done by this command (the responder answers only while one runs)\n";
    }
    if report.moves.is_empty() {
        text += "no address has changed\n";
    }
    for moved in &report.moves {
        let (before, after) = (
            output::addresses(&moved.before),
            output::addresses(&moved.after),
        );
        let _ = writeln!(text, "{}: {before} → {after}", moved.name);
    }
    for notice in &report.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    let rows = report.surfaces.iter().map(|surface| {
        let took = std::time::Duration::from_secs_f64(surface.milliseconds / 1000.0);
        [
            surface.surface.as_str().to_owned(),
            surface.result.as_str().to_owned(),
            clock::took(took),
            surface.detail.clone(),
        ]
    });
    text += &output::table(["SURFACE", "RESULT", "TOOK", "DETAIL"], rows);
    for surface in &report.surfaces {
        for notice in &surface.notices {
            let _ = writeln!(text, "note ({}): {notice}", surface.surface.as_str());
        }
    }
    let total = std::time::Duration::from_secs_f64(report.milliseconds / 1000.0);
    let _ = writeln!(
        text,
        "generation {}, {}",
        report.generation,
        clock::took(total)
    );
    text
}
