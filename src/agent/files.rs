//! The agent's files: which are read, watched, and put in force.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info};

use super::kubeadm::KUBELET_CONF;
use super::{Agent, Settings};
use crate::config::node::APISERVER_MANIFEST;
use crate::config::{self, Cluster, Node, rescue};
use crate::engine::{ALL, Engine, Pending};
use crate::kubeadm::record as kubeadm;
use crate::own;
use crate::pki::record;
use crate::source::netlink::{self, Hints};
use crate::source::upstream::{Resolver, Upstream};
use crate::source::watch::Watch;
use crate::static_pod::MANIFESTS;
use crate::surface::haproxy::authority;

/// How long the disk may take to read the settings.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How often files that change while they are being put in force are read again at once.
const ROUNDS: usize = 10;
/// What status says while there is no watch.
pub(super) const UNWATCHED: &str = "files cannot be watched (fs.inotify.max_user_instances?); they are read every ten seconds instead";

impl Agent {
    /// Reads the files again and brings every surface to them, as SIGHUP asks.
    pub(super) async fn reload(&mut self) -> Result<Pending, String> {
        match self.reread().await? {
            Some(pending) => Ok(pending),
            None => Ok(self.engine.repair(&ALL).await),
        }
    }

    /// The same without a watch: what is wrong is said once.
    pub(super) async fn poll(&mut self) {
        let before = self.problems.clone();
        match self.read().await {
            Err(text) if text.lines().eq(before.iter().map(String::as_str)) => {}
            // What is wrong is logged and shown by status.
            _ => drop(self.reread().await),
        }
    }

    /// Reads the files until they are what is in force. `None` where they were. A bad one leaves the
    /// old in force, loudly.
    pub(super) async fn reread(&mut self) -> Result<Option<Pending>, String> {
        let mut report = None;
        for _ in 0..ROUNDS {
            let (cluster, node) = match self.read().await {
                Ok(good) => good,
                Err(text) => {
                    self.refuse(&text);
                    return Err(text);
                }
            };
            if !std::mem::take(&mut self.problems).is_empty() {
                info!("the settings are good again");
            }
            let before = self.engine.view();
            if *self.engine.file() == cluster && *before.node == node {
                break;
            }
            report = Some(self.put_in_force(cluster, node).await?);
        }
        Ok(report)
    }

    async fn read(&self) -> Result<(Cluster, Node), String> {
        let settings = self.settings.clone();
        let reading = self.engine.writer().run(move || load(&settings));
        match timeout(READ_PATIENCE, reading).await {
            Ok(Ok(Ok(good))) => Ok(good),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(interrupted)) => Err(interrupted.to_string()),
            Err(_) => Err("reading the settings takes long: the disk hangs".to_owned()),
        }
    }

    fn refuse(&mut self, text: &str) {
        let problems: Vec<String> = text.lines().map(str::to_owned).collect();
        for problem in &problems {
            error!("the old settings stay in force: {problem}");
        }
        self.problems = problems;
    }

    async fn put_in_force(&mut self, cluster: Cluster, node: Node) -> Result<Pending, String> {
        let before = watched(&self.settings, &self.engine.view().cluster);
        let report = self.engine.reconfigure(cluster, node).await;
        let report = report.map_err(|rejection| rejection.to_string())?;
        let view = self.engine.view();
        info!(
            generation = view.book.generation,
            "a new cluster file is in force"
        );
        self.links = own::counts(&self.engine, &view.node).then(netlink::Watch::start);
        self.follow_masters();
        // A watch that stays has not lost anything meanwhile.
        if watched(&self.settings, &view.cluster) != before {
            self.files = watch_files(&self.settings, &self.engine).await;
        }
        Ok(report)
    }
}

impl Agent {
    /// Follows the masters that there are now: their upstream names, and the routes to them.
    pub(super) fn follow_masters(&mut self) {
        self.routes = watch_routes(&self.engine);
        self.upstream = follow(&self.engine);
        self.upstream_errors.clear();
    }
}

pub(super) fn load(settings: &Settings) -> Result<(Cluster, Node), config::Error> {
    let Settings {
        root,
        config,
        node_config,
        flags,
        ..
    } = settings;
    config::load(root, config, node_config, flags)
}

/// The files whose change means work.
fn watched(settings: &Settings, cluster: &Cluster) -> Vec<PathBuf> {
    vec![
        settings.config.clone(),
        settings.node_config.clone(),
        PathBuf::from(rescue::PATH),
        cluster.hosts.path.clone(),
        PathBuf::from(authority::PATH),
        PathBuf::from(APISERVER_MANIFEST),
        PathBuf::from(record::PATH),
        PathBuf::from(MANIFESTS),
        PathBuf::from(KUBELET_CONF),
        PathBuf::from(kubeadm::PATH),
    ]
}

/// `None` where the kernel has no watch left.
pub(super) async fn watch_files(settings: &Settings, engine: &Engine) -> Option<Watch> {
    let paths = watched(settings, &engine.view().cluster);
    let starting = Watch::start(engine.writer(), &settings.root, paths);
    match timeout(READ_PATIENCE, starting).await {
        Ok(Ok(watch)) => Some(watch),
        Ok(Err(error)) => {
            error!("{error}");
            None
        }
        Err(_) => {
            error!("files cannot be watched: the disk hangs");
            None
        }
    }
}

/// Listens for what happens to stable addresses and the routes to them, where there are any.
pub(super) fn watch_routes(engine: &Engine) -> Option<Hints> {
    let cluster = engine.view().cluster;
    let wanted = engine.root().is_system() && cluster.routes.in_force();
    let masters = cluster.masters.iter();
    let kept = masters.flat_map(|master| cluster.routes.kept(master));
    wanted.then(|| Hints::start(cluster.routes.protocol, kept.collect()))
}

/// Starts to follow the upstream names of the cluster file.
pub(super) fn follow(engine: &Engine) -> Upstream {
    let view = engine.view();
    let (root, writer) = (engine.root().clone(), engine.writer().clone());
    let resolver = Resolver::new(writer, root, &view.cluster, engine.loopback());
    Upstream::start(&resolver, &view.cluster, |master| {
        engine.said_upstream(master)
    })
}
