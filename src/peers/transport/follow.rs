//! Follows the files that this node proves itself with and trusts, as they change.
//!
//! A file that cannot be used, because it is half written or its key is not there yet, leaves in place
//! what was read before; one that is gone counts no more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

use super::Peer;
use super::identity::{self, Credential, KUBELET, MASTER};
use super::shared::{Shared, lock};
use super::trust::Trust;
use crate::api::identity as files;
use crate::name::Name;
use crate::peers::changes::Changes;
use crate::peers::trust::AUTHORITY;
use crate::pki::certificate::Certificate;
use crate::root::Root;
use crate::writer::{Interrupted, Writer};

/// All files that are looked at.
pub(super) fn paths() -> Vec<PathBuf> {
    let all = [MASTER[0], MASTER[1], KUBELET, AUTHORITY];
    all.map(PathBuf::from).to_vec()
}

/// What was read last.
#[derive(Debug)]
pub(super) struct Files {
    root: Root,
    domain: Name,
    provider: Arc<CryptoProvider>,
    master: Option<Credential>,
    kubelet: Option<Credential>,
    authorities: Vec<Certificate>,
    /// What cannot be used.
    problems: BTreeSet<String>,
    /// And what of it was not said yet.
    news: Vec<String>,
}

impl Files {
    pub(super) fn new(root: Root, domain: Name, provider: Arc<CryptoProvider>) -> Self {
        Self {
            root,
            domain,
            provider,
            master: None,
            kubelet: None,
            authorities: Vec::new(),
            problems: BTreeSet::new(),
            news: Vec::new(),
        }
    }

    /// Reads all of them anew.
    pub(super) fn read(&mut self) {
        let mut problems = BTreeSet::new();
        let load = |pair| identity::load(&self.root, &self.domain, pair, &self.provider);
        let master = load(MASTER);
        let kubelet = load([KUBELET, KUBELET]);
        let authorities = match files::certificates(&self.root, Path::new(AUTHORITY)) {
            Err(files::Error::Missing(_)) => Ok(Vec::new()),
            read => read,
        };
        taken(&mut self.master, master, &mut problems);
        taken(&mut self.kubelet, kubelet, &mut problems);
        taken(&mut self.authorities, authorities, &mut problems);
        self.news = problems.difference(&self.problems).cloned().collect();
        self.problems = problems;
    }

    /// Says what cannot be used, once.
    pub(super) fn complain(&mut self) {
        for problem in self.news.drain(..) {
            tracing::warn!("{problem}");
        }
    }

    /// In the order in which they are shown: the master's own first.
    pub(super) fn credentials(&self) -> Vec<Credential> {
        let all = [&self.master, &self.kubelet];
        all.into_iter().flatten().cloned().collect()
    }

    pub(super) fn trust(&self) -> Trust {
        let own = self.credentials();
        Trust {
            domain: self.domain.clone(),
            authorities: self.authorities.clone(),
            begun: own.iter().map(|own| own.not_before).collect(),
        }
    }
}

fn taken<T, E: ToString>(old: &mut T, new: Result<T, E>, problems: &mut BTreeSet<String>) {
    match new {
        Ok(new) => *old = new,
        Err(error) => {
            problems.insert(error.to_string());
        }
    }
}

/// Reads the files on the thread for file work.
pub(super) async fn read(writer: &Writer, mut files: Files) -> Result<Files, Interrupted> {
    let reading = move || {
        files.read();
        files
    };
    let mut files = writer.run(reading).await?;
    files.complain();
    Ok(files)
}

/// Reads them again whenever one of them changes.
pub(super) async fn run(
    shared: Arc<Shared>,
    writer: Writer,
    mut watch: Changes,
    mut files: Files,
    trust: Arc<ArcSwap<Trust>>,
    peer: watch::Sender<Option<Peer>>,
) {
    loop {
        watch.next().await;
        files = match read(&writer, files).await {
            Ok(files) => files,
            Err(error) => {
                tracing::error!("certificates are not followed any more: {error}");
                return;
            }
        };
        shared.own.set(files.credentials());
        let new = files.trust();
        let changed = new.authorities != trust.load().authorities;
        trust.store(Arc::new(new));
        if changed {
            // Whoever is connected proved itself to others.
            lock(&shared.pool).end_all();
        }
        let now = shared.own.peer();
        peer.send_if_modified(|old| {
            let differs = *old != now;
            *old = now;
            differs
        });
    }
}
