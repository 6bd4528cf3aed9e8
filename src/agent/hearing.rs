//! What the agent hears without being told: its own interface, upstream names, changed files, time.

use std::path::Path;
use std::time::Instant;

use tracing::{debug, warn};

use super::Agent;
use super::files::watch_files;
use super::kubeadm::KUBELET_CONF;
use crate::book::{Event, Origin};
use crate::config::node::APISERVER_MANIFEST;
use crate::config::rescue;
use crate::kubeadm::record as kubeadm;
use crate::own;
use crate::pki::record;
use crate::report::Surface;
use crate::source::interface::Snapshot;
use crate::source::netlink;
use crate::source::upstream::{Look, Observation};
use crate::static_pod::MANIFESTS;
use crate::surface::haproxy::authority;

impl Agent {
    pub(super) async fn own_address(&mut self, snapshot: Result<Snapshot, netlink::Error>) {
        match snapshot {
            Ok(snapshot) => {
                self.kubeadm_sees(&snapshot);
                if let Some(event) = own::event(&self.engine.view(), &snapshot) {
                    self.hear(&event).await;
                }
            }
            Err(error) => warn!("cannot watch this node's interfaces: {error}"),
        }
    }

    pub(super) async fn followed(&mut self, observation: Observation) {
        let Observation { master, look, .. } = observation;
        let Look {
            result, notices, ..
        } = look;
        for notice in notices {
            debug!(%master, "{notice}");
        }
        match result {
            Ok(addresses) => {
                self.upstream_errors.remove(&master);
                self.hear(&Event::Observed {
                    origin: Origin::Upstream,
                    name: master,
                    addresses,
                })
                .await;
            }
            Err(error) => {
                let text = error.to_string();
                if self.upstream_errors.get(&master) != Some(&text) {
                    warn!(%master, "{text}; its last known addresses stay");
                }
                self.upstream_errors.insert(master, text);
            }
        }
    }

    /// Takes what a source says to the surfaces, if it is news.
    async fn hear(&mut self, event: &Event) {
        if self.engine.knows(event) {
            return;
        }
        match self.engine.handle(event).await {
            Ok(pending) => drop(pending),
            Err(error) => warn!("{error}"),
        }
    }

    pub(super) async fn file_changed(&mut self, path: &Path) {
        let settings = [
            self.settings.config.as_path(),
            self.settings.node_config.as_path(),
            Path::new(rescue::PATH),
        ];
        if settings.contains(&path) {
            // What is wrong is logged and shown by status.
            let _ = self.reload().await;
        } else if path == Path::new(authority::PATH) {
            drop(self.engine.repair(&[Surface::Haproxy]).await);
        } else if path == Path::new(APISERVER_MANIFEST) {
            self.engine.look();
        } else if path == Path::new(record::PATH) {
            self.look_at_certificates().await;
        } else if [MANIFESTS, KUBELET_CONF].map(Path::new).contains(&path) {
            self.kubeadm.files_changed();
            self.look_at_kubeadm().await;
        } else if path == Path::new(kubeadm::PATH) {
            self.look_at_kubeadm().await;
        } else {
            self.defend(Surface::Hosts).await;
        }
    }

    /// What the hosts file and the settings say, without a reason to look.
    pub(super) async fn verify_files(&mut self) {
        self.defend(Surface::Hosts).await;
        if self.files.is_none() {
            self.files = watch_files(&self.settings, &self.engine).await;
            self.poll().await;
        }
    }

    /// The other surfaces.
    pub(super) async fn verify_rest(&mut self) {
        let mut which = vec![Surface::Haproxy, Surface::Pods, Surface::Routes];
        if self.engine.dns_is_troubled() {
            which.push(Surface::Dns);
        }
        let now = Instant::now();
        which.retain(|surface| !self.engine.health_of(*surface).waits(now));
        drop(self.engine.repair(&which).await);
    }
}
