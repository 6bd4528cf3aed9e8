//! `stayput apply`: the agent's work once.

use std::time::Duration;

use futures_util::future::join_all;

use super::context::{Context, Failure, LOCK_PATIENCE, block_on};
use super::{event, exit, output};
use crate::book::{Event, Origin};
use crate::engine::{EVERYTHING, Engine};
use crate::lock;
use crate::own;
use crate::source::netlink;
use crate::source::upstream::Resolver;

/// How long all upstream names together may take; the surfaces have the last known good by then.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn apply(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let report = block_on(async {
        // What is wrong with the files is said before anyone is waited for.
        context.load(&root)?;
        let lock = lock::take(&root, lock::BOOK, LOCK_PATIENCE)?;
        let mut engine = context.engine(&root, &lock).await?;
        let mut unheard: Vec<String> = hear_own(&mut engine).await.into_iter().collect();
        let mut report = engine.repair(&EVERYTHING).await.finish().await;
        engine.look_now().await;
        unheard.extend(hear_upstream(&mut engine).await);
        if !engine.is_saved() {
            let moves = std::mem::take(&mut report.moves);
            report = engine.repair(&EVERYTHING).await.finish().await;
            report.moves.splice(0..0, moves);
        }
        report.notices.extend(unheard);
        engine.close().await;
        Ok(report)
    })?;
    output::print(context.global.output, &report, event::text)?;
    Ok(if report.failed() {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

/// Hears what the node's own interface says now. What cannot be heard is returned for the report; the
/// last known good stays.
async fn hear_own(engine: &mut Engine) -> Option<String> {
    let view = engine.view();
    if !own::counts(engine, &view.node) {
        return None;
    }
    match netlink::snapshot().await {
        Ok(snapshot) => own::event(&view, &snapshot).and_then(|event| hear(engine, &event)),
        Err(error) => Some(format!("this node's own address: {error}")),
    }
}

/// The same for the names that masters follow, all at once.
async fn hear_upstream(engine: &mut Engine) -> Vec<String> {
    let view = engine.view();
    let (root, writer) = (engine.root().clone(), engine.writer().clone());
    let resolver = Resolver::new(writer, root, &view.cluster, engine.loopback());
    let followed = view.cluster.masters.iter().filter_map(|master| {
        let follow = master.follow.clone()?;
        let (mut resolver, said) = (resolver.clone(), engine.said_upstream(&master.name));
        Some(async move {
            let looking = resolver.look(&follow, &said);
            let look = tokio::time::timeout(UPSTREAM_PATIENCE, looking).await;
            let result = look.map_err(|_| format!("{follow} was not resolved in time"));
            (master.name.clone(), result.map(|look| look.result))
        })
    });
    let mut unheard = Vec::new();
    for (name, result) in join_all(followed).await {
        match result {
            Ok(Ok(addresses)) => {
                let origin = Origin::Upstream;
                let event = Event::Observed {
                    origin,
                    name,
                    addresses,
                };
                unheard.extend(hear(engine, &event));
            }
            Ok(Err(error)) => unheard.push(format!("{name}: {error}")),
            Err(error) => unheard.push(format!("{name}: {error}")),
        }
    }
    unheard
}

/// Takes an event into the book; the surfaces follow all at once afterwards.
fn hear(engine: &mut Engine, event: &Event) -> Option<String> {
    engine.hear(event).err().map(|error| error.to_string())
}
