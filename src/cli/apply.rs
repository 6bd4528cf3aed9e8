//! `stayput apply`: the agent's work once.

use super::context::{Context, Failure, LOCK_PATIENCE, block_on};
use super::{event, exit, output};
use crate::book::{Event, Origin};
use crate::engine::{EVERYTHING, Engine};
use crate::lock;
use crate::own;
use crate::report::{Report, Surface, SurfaceReport};
use crate::source::netlink;
use crate::source::upstream::Resolver;

pub(super) fn apply(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let report = block_on(async {
        // What is wrong with the files is said before anyone is waited for.
        context.load(&root)?;
        let lock = lock::take(&root, LOCK_PATIENCE)?;
        let mut engine = context.engine(&root, &lock).await?;
        let unheard = hear_sources(&mut engine).await;
        let mut report = engine.repair(&EVERYTHING).await;
        engine.observe().await;
        note(&mut report, unheard);
        Ok(report)
    })?;
    output::print(context.global.output, &report, event::text)?;
    Ok(if report.failed() {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

/// Hears what the node's own interface and upstream names say now. What cannot be heard is returned
/// for the report; the last known good stays.
async fn hear_sources(engine: &mut Engine) -> Vec<String> {
    let mut unheard = Vec::new();
    let view = engine.view();
    if own::counts(engine, &view.node) {
        match netlink::snapshot().await {
            Ok(snapshot) => {
                if let Some(event) = own::event(&view, &snapshot) {
                    unheard.extend(hear(engine, &event));
                }
            }
            Err(error) => unheard.push(format!("this node's own address: {error}")),
        }
    }
    let (root, writer) = (engine.root().clone(), engine.writer().clone());
    let mut resolver = Resolver::new(writer, root, &view.cluster, engine.loopback());
    for master in &view.cluster.masters {
        let Some(follow) = &master.follow else {
            continue;
        };
        let known = view.book.addresses(&master.name);
        match resolver.look(follow, known).await.result {
            Ok(addresses) => {
                let event = Event::Observed {
                    origin: Origin::Upstream,
                    name: master.name.clone(),
                    addresses,
                };
                unheard.extend(hear(engine, &event));
            }
            Err(error) => unheard.push(format!("{}: {error}", master.name)),
        }
    }
    unheard
}

/// Takes an event into the book; the surfaces follow all at once afterwards.
fn hear(engine: &mut Engine, event: &Event) -> Option<String> {
    engine.hear(event).err().map(|error| error.to_string())
}

fn note(report: &mut Report, unheard: Vec<String>) {
    let is_state = |s: &&mut SurfaceReport| s.surface == Surface::State;
    match report.surfaces.iter_mut().find(is_state) {
        Some(state) => state.notices.extend(unheard),
        None => {
            if let Some(first) = report.surfaces.first_mut() {
                first.notices.extend(unheard);
            }
        }
    }
}
