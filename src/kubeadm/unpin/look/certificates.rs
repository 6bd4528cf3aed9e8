//! The serving certificates, on disk and as kube-apiservers serve them.

use std::net::IpAddr;

use serde_json::Value;

use super::{Look, PATIENCE, open};
use crate::config::cluster::Master;
use crate::kubeadm::unpin::certificates::{Serving, serving};
use crate::kubeadm::unpin::cluster_configuration;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::objects::Map;
use crate::kubeadm::unpin::plan::{Change, Stand};
use crate::kubeadm::unpin::site::Here;
use crate::kubeadm::unpin::stage::Stage;
use crate::pki::inventory;
use crate::pki::live;
use crate::pki::session::on_master;

impl Look {
    /// Both stages of the certificates. `kubeadm` is kubeadm's `ConfigMap`; without `etcd`, this master runs
    /// none.
    pub(super) async fn certificates(
        &mut self,
        here: &Here,
        kubeadm: &Value,
        etcd: bool,
    ) -> Result<(), Error> {
        let keep = cluster_configuration::wanted_addresses(kubeadm)
            .map_err(|error| format!("{} {error}", Map::Kubeadm.place()));
        let found = match keep {
            Ok(keep) => self.serving(here, &keep, etcd)?,
            Err(reason) => Err(reason),
        };
        let all = match found {
            Ok(all) => all,
            Err(reason) => {
                self.stand(Stage::Certificates, Stand::Bad(reason.clone()));
                self.stand(Stage::Addresses, Stand::Bad(reason));
                return Ok(());
            }
        };
        let mut adding: Vec<Change> = all.iter().filter_map(Serving::adding).collect();
        let dropping: Vec<Change> = all.iter().filter_map(Serving::dropping).collect();
        if adding.is_empty()
            && let Some(reason) = not_served(here).await
        {
            adding.push(Change {
                place: "kube-apiserver".to_owned(),
                diff: format!("+wait: {reason}\n"),
            });
        }
        let asked_for = all.iter().filter_map(|it| {
            let why = "because kubeadm-config asks for it; if nobody dials it any more, take it out there and then out of the certificate";
            kept(it, &it.asked_for, why)
        });
        let strange = all.iter().filter_map(|it| {
            let why = "which nobody knows as a master's: a load balancer's, maybe; if nobody dials it any more, take it out";
            kept(it, &it.strange, why)
        });
        self.notices.extend(asked_for.chain(strange));
        self.work.serving = all;
        self.stand(Stage::Certificates, open(adding));
        self.stand(Stage::Addresses, open(dropping));
        Ok(())
    }

    /// The names that go in, as far as files tell; whether kube-apiserver serves them, they do not.
    pub(super) fn names(&mut self, here: &Here, etcd: bool) -> Result<(), Error> {
        let stand = match self.serving(here, &Default::default(), etcd)? {
            Ok(all) => open(all.iter().filter_map(Serving::adding).collect()),
            Err(reason) => Stand::Bad(reason),
        };
        if stand != Stand::Done {
            self.stand(Stage::Certificates, stand);
        }
        Ok(())
    }

    fn serving(
        &self,
        here: &Here,
        keep: &[Vec<IpAddr>; 3],
        etcd: bool,
    ) -> Result<Result<Vec<Serving>, String>, Error> {
        let wanted = on_master(&here.cluster, &here.node)?;
        let inventory = inventory::take(&here.root, &wanted);
        let masters = &self.masters;
        Ok(serving(
            &wanted, &inventory, keep, masters, etcd, &here.ways,
        ))
    }
}

/// That a certificate keeps addresses, and how they go out.
fn kept(serving: &Serving, addresses: &[IpAddr], why: &str) -> Option<String> {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| {
        format!(
            "{} keeps {}, {why}: stayput certs renew {} --force --drop-name {}",
            serving.path.display(),
            addresses.join(" and "),
            serving.id,
            addresses.join(" --drop-name "),
        )
    })
}

/// Why this master's kube-apiserver does not serve the certificate that lies there yet, if so.
pub async fn not_served(here: &Here) -> Option<String> {
    let servers = live::servers(&here.cluster, &here.node, &[]);
    let servers: Vec<_> = servers
        .into_iter()
        .filter(|it| it.name == "kube-apiserver")
        .collect();
    let root = here.root.clone();
    let look = move || live::look(&root, &servers, PATIENCE);
    let rows = match tokio::task::spawn_blocking(look).await {
        Ok(rows) => rows,
        Err(error) => return Some(error.to_string()),
    };
    rows.into_iter()
        .find(|row| !row.agrees)
        .map(|row| row.detail)
}

/// Whether a master's kube-apiserver serves a certificate with the endpoint's name.
pub(super) async fn serves_names(here: &Here, master: &Master) -> bool {
    let endpoint = here.cluster.endpoint.name.to_string();
    let port = here.cluster.kubernetes.api_port;
    let addresses = here.book.addresses(&master.name).to_vec();
    let asked = move || {
        addresses.iter().any(|address| {
            let chain = live::ask((*address, port).into(), &endpoint, PATIENCE);
            chain.is_ok_and(|chain| {
                let leaf = chain.first();
                leaf.is_some_and(|leaf| leaf.profile.names.dns.contains(&endpoint))
            })
        })
    };
    tokio::task::spawn_blocking(asked).await.unwrap_or(false)
}
