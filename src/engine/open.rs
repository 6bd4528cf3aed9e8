//! How an engine begins: with the last known good book, and what the cluster file says now.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::lanes::Lanes;
use super::{Engine, Saved, declare};
use crate::book::Rejection;
use crate::clock;
use crate::config::{Cluster, Node};
use crate::health::Health;
use crate::masters;
use crate::report::{DoneBy, Surface};
use crate::root::Root;
use crate::state::{self, Loaded, State};
use crate::writer::Writer;

/// Why there is no engine. Nothing has been written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The saved book cannot be read.
    #[error(transparent)]
    State(#[from] state::Unreadable),
    /// The book refuses the cluster file.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Engine {
    /// Loads the last known good book and hears what the cluster file says now. Nothing is written
    /// yet but a damaged state file, which is set aside.
    pub async fn open(
        root: Root,
        writer: Writer,
        done_by: DoneBy,
        cluster: Cluster,
        node: Node,
    ) -> Result<Self, OpenError> {
        let loading = root.clone();
        let loaded = writer.run(move || state::load(&loading)).await;
        let mut notices = Vec::new();
        let state = match loaded {
            Ok(Loaded::Good(state)) => state,
            Ok(Loaded::Fresh) => State::default(),
            Ok(Loaded::Damaged { reason, set_aside }) => {
                notices.push(damaged(&reason, set_aside.as_deref()));
                State::default()
            }
            Ok(Loaded::Unreadable(unreadable)) => return Err(unreadable.into()),
            Err(interrupted) => return Err(state::Unreadable(interrupted.to_string()).into()),
        };
        let mut health: BTreeMap<Surface, Health> = BTreeMap::new();
        health.entry(Surface::State).or_default().notices = notices;
        let (sender, news) = mpsc::unbounded_channel();
        let file = Arc::new(cluster);
        let mut engine = Self {
            lanes: Lanes::start(&root, &writer, &sender),
            news,
            disk_hangs: false,
            root,
            writer,
            done_by,
            cluster: masters::effective(&file, &state.book),
            file,
            node: Arc::new(node),
            saved: Saved::Yes,
            moves: Vec::new(),
            notices: Vec::new(),
            book: Arc::new(state.book),
            provision: state.provision,
            block: state.block,
            dns: None,
            observation: None,
            health,
        };
        let next = declare(&engine.book, &engine.file, clock::unix_now())?;
        engine.take_over(next)?;
        Ok(engine)
    }
}

fn damaged(reason: &str, set_aside: Option<&Path>) -> String {
    let whereto = set_aside.map_or("it could not be set aside".to_owned(), |path| {
        format!("it lies in {} now", path.display())
    });
    format!(
        "{} was damaged ({reason}); {whereto}, and the book was rebuilt from the cluster file",
        state::PATH
    )
}
