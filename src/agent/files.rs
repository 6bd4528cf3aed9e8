//! The agent's files: which are read, watched, and put in force.

use std::path::PathBuf;

use tracing::{error, info};

use super::{Agent, Error, Settings};
use crate::book::Origin;
use crate::config::node::APISERVER_MANIFEST;
use crate::config::{self, Cluster, Node};
use crate::engine::{ALL, Engine};
use crate::own;
use crate::report::Report;
use crate::source::netlink;
use crate::source::upstream::{Resolver, Upstream};
use crate::source::watch::Watch;
use crate::surface::haproxy::authority;

impl Agent {
    /// Reads the files again. A bad one leaves the old in force, loudly.
    pub(super) async fn reload(&mut self) -> Result<Report, String> {
        match load(&self.settings) {
            Ok((cluster, node)) => {
                self.problems.clear();
                let before = self.engine.view();
                if *before.cluster == cluster && *before.node == node {
                    return Ok(self.engine.repair(&ALL).await);
                }
                let report = self.engine.reconfigure(cluster, node).await;
                let report = report.map_err(|rejection| rejection.to_string())?;
                let view = self.engine.view();
                info!(
                    generation = view.book.generation,
                    "a new cluster file is in force"
                );
                self.links = own::counts(&self.engine, &view.node).then(netlink::Watch::start);
                self.upstream = follow(&self.engine);
                self.upstream_errors.clear();
                match watch(&self.settings, &self.engine).await {
                    Ok(files) => self.files = files,
                    Err(error) => error!("the files of before are watched on: {error}"),
                }
                Ok(report)
            }
            Err(error) => {
                let text = error.to_string();
                self.problems = text.lines().map(str::to_owned).collect();
                for problem in &self.problems {
                    error!("the old cluster file stays in force: {problem}");
                }
                Err(text)
            }
        }
    }
}

pub(super) fn load(settings: &Settings) -> Result<(Cluster, Node), config::Error> {
    let Settings {
        root,
        config,
        node_config,
        flags,
    } = settings;
    config::load(root, config, node_config, flags)
}

/// The files whose change means work.
fn watched(settings: &Settings, cluster: &Cluster) -> Vec<PathBuf> {
    vec![
        settings.config.clone(),
        settings.node_config.clone(),
        cluster.hosts.path.clone(),
        PathBuf::from(authority::PATH),
        PathBuf::from(APISERVER_MANIFEST),
    ]
}

pub(super) async fn watch(settings: &Settings, engine: &Engine) -> Result<Watch, Error> {
    let paths = watched(settings, &engine.view().cluster);
    Ok(Watch::start(engine.writer(), &settings.root, paths).await?)
}

/// Starts to follow the upstream names of the cluster file.
pub(super) fn follow(engine: &Engine) -> Upstream {
    let view = engine.view();
    let (root, writer) = (engine.root().clone(), engine.writer().clone());
    let resolver = Resolver::new(writer, root, &view.cluster, engine.loopback());
    let said = view.book.said.get(&Origin::Upstream);
    Upstream::start(&resolver, &view.cluster, |master| {
        let addresses = said.and_then(|said| said.get(master));
        addresses.cloned().unwrap_or_default()
    })
}
