//! Tells when files may have changed: by inotify, or where none is left by the clock.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::root::Root;
use crate::source::watch::Watch;
use crate::writer::Writer;

/// Without inotify files are looked at this often, and it is asked for again.
const INTERVAL: Duration = Duration::from_secs(10);
/// What a person is told meanwhile.
pub(super) const UNWATCHED: &str = "files cannot be watched (fs.inotify.max_user_instances?); they are read every ten seconds instead";

/// See the module.
#[derive(Debug)]
pub(super) struct Changes {
    writer: Writer,
    root: Root,
    paths: Vec<PathBuf>,
    watch: Option<Watch>,
    /// When they are looked at without one.
    due: Instant,
}

impl Changes {
    /// Begins to follow files: what changes after this returns is told. None of them need exist.
    pub(super) async fn start(writer: &Writer, root: &Root, paths: Vec<PathBuf>) -> Self {
        let mut changes = Self {
            writer: writer.clone(),
            root: root.clone(),
            paths,
            watch: None,
            due: Instant::now() + INTERVAL,
        };
        if let Err(error) = changes.watch().await {
            tracing::error!("{error}; files are read every ten seconds instead");
        }
        changes
    }

    /// Whether inotify tells.
    pub(super) fn are_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Waits until they should be looked at. May be cancelled.
    pub(super) async fn next(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.next().await;
            return;
        }
        sleep_until(self.due).await;
        // Before they are looked at: no change falls between.
        if self.watch().await.is_ok() {
            tracing::info!("files are watched again");
        }
        self.due = Instant::now() + INTERVAL;
    }

    async fn watch(&mut self) -> Result<(), crate::source::watch::Error> {
        let paths = self.paths.clone();
        self.watch = Some(Watch::start(&self.writer, &self.root, paths).await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn without_inotify_files_are_looked_at_by_the_clock_until_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut changes = Changes {
            writer: Writer::start().unwrap(),
            root: Root::open(dir.path()).unwrap(),
            paths: vec![PathBuf::from("/a")],
            watch: None,
            due: Instant::now() + Duration::from_millis(50),
        };
        assert!(!changes.are_watched());
        let early = timeout(Duration::from_millis(1), changes.next()).await;
        assert!(early.is_err() && !changes.are_watched());
        changes.next().await;
        assert!(changes.are_watched());
        std::fs::write(dir.path().join("a"), "new").unwrap();
        let told = timeout(Duration::from_secs(20), changes.next()).await;
        assert!(told.is_ok());
    }
}
