//! What is there now, on this node, on the others, in etcd and in the cluster: the facts for the plan,
//! and the work that its stages mean. Nothing is changed.

mod certificates;
mod manifests;
mod members;
mod nodes;
mod objects;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

pub use self::certificates::not_served;
use self::certificates::serves_names;
pub use self::manifests::NewManifest;
pub use self::members::Peer;
pub use self::nodes::internal_addresses;
use self::nodes::record;
use super::certificates::Serving;
use super::error::Error;
use super::groups::{self, Group};
use super::objects::Mend;
use super::plan::{Change, Facts, Other, Stand};
use super::rollout::Rollout;
use super::site::{Here, Site};
use super::stage::{Record, Stage};
use super::{agent, guard, known, owed};
use crate::kubeadm::audit;
use crate::kubeadm::cluster_status::Places;
use crate::kubeadm::pin::Pin;
use crate::name::Name;

const LIMIT: u64 = 1 << 20;
/// How long another member, or another master, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug, Default)]
pub struct Look {
    /// For the plan.
    pub facts: Facts,
    /// For whoever carries it out.
    pub work: Work,
    /// What this node has said so far.
    pub said: Option<Record>,
    /// What the operator should know, and nobody mends.
    pub notices: Vec<String>,
    /// What may go wrong later.
    pub warnings: Vec<String>,
    /// What pins here, and no stage mends.
    pub by_hand: Vec<Pin>,
    /// Addresses that are known to be, or to have been, a master's.
    pub masters: BTreeSet<IpAddr>,
    /// Where each master is now, by its Node's name.
    pub places: Places,
}

/// What is to be done, by stage.
#[derive(Debug, Default)]
pub struct Work {
    /// [`Stage::Certificates`] and [`Stage::Addresses`].
    pub serving: Vec<Serving>,
    /// [`Stage::Kubeconfigs`].
    pub groups: Vec<Group>,
    /// [`Stage::Etcd`].
    pub etcd: Option<NewManifest>,
    /// [`Stage::Apiserver`].
    pub apiserver: Option<NewManifest>,
    /// [`Stage::Peer`].
    pub peer: Option<Peer>,
    /// [`Stage::Cluster`]: `ConfigMap`s.
    pub maps: Vec<Mend>,
    /// [`Stage::Cluster`]: kube-proxy's pods.
    pub rollout: Option<Rollout>,
}

/// Looks at everything. The API has to answer.
pub async fn look(site: &Site) -> Result<Look, Error> {
    let here = &site.here;
    let me = site.api.get(&here.node_path()).await?;
    let me = me.ok_or_else(|| Error::NoNode(here.node.kubernetes_name.to_string()))?;
    let mut look = Look::at(here);
    look.said = record(&me);
    // Not everybody may ask for it everywhere.
    let version = site.api.get("/version").await.ok().flatten();
    look.agent(here, version.as_ref().and_then(guard::minor))
        .await;
    look.kubeconfigs(here);
    match here.node.master() {
        Some(master) => look.on_master(site, master).await?,
        None => look.on_worker(here).await,
    }
    look.audit(here);
    Ok(look)
}

/// Looks at what this node alone knows: its agent and its files. Nothing is known of the other stages, nor
/// of the addresses that are to go out of certificates: others may ask for them.
pub async fn files(here: &Here) -> Result<Look, Error> {
    let mut look = Look::at(here);
    look.agent(here, None).await;
    look.kubeconfigs(here);
    if let Some(me) = here.node.master() {
        look.known(here)?;
        let etcd = look.manifests(here, me);
        look.names(here, etcd)?;
    }
    look.audit(here);
    Ok(look)
}

impl Look {
    fn at(here: &Here) -> Self {
        let mut look = Self::default();
        look.facts.node = here.node.kubernetes_name.to_string();
        look.facts.master = here.node.master().cloned();
        look
    }

    fn stand(&mut self, stage: Stage, stand: Stand) {
        self.facts.stands.insert(stage, stand);
    }

    /// The agent, where this release can do with names. What kube-apiserver says of that goes before the
    /// cluster file.
    async fn agent(&mut self, here: &Here, minor: Option<u32>) {
        let minor = minor.unwrap_or(here.cluster.kubernetes.minor);
        let stand = match guard::release(&here.cluster, minor) {
            Ok(warning) => {
                self.warnings.extend(warning);
                agent::stand(here).await
            }
            Err(reason) => Stand::Bad(reason),
        };
        self.stand(Stage::Agent, stand);
    }

    /// What no stage mends; the last one does not begin while that breaks this master.
    fn audit(&mut self, here: &Here) {
        let found = audit::node(&here.root, &here.view());
        let open = self.facts.stands.values().any(|it| *it != Stand::Done);
        let before = self.facts.stands.iter();
        let mut before = before.filter(|(stage, _)| **stage < Stage::Addresses);
        let early = before.any(|(_, stand)| *stand != Stand::Done);
        let follows = !here.cluster.kubeadm.follow.is_empty();
        self.by_hand = guard::by_hand(found.pins, early, follows);
        if let Some(stand) = self.facts.stands.remove(&Stage::Addresses) {
            let rescued = !here.cluster.routes.rescue.is_empty();
            let stand = guard::addresses(stand, &self.by_hand, rescued);
            self.stand(Stage::Addresses, stand);
        }
        if open {
            // The rest of it is told when nothing else is left.
            self.by_hand
                .retain(|pin| guard::is_fatal(std::slice::from_ref(pin)));
        } else {
            self.notices.extend(found.unread);
        }
    }

    fn kubeconfigs(&mut self, here: &Here) {
        let owed = owed::read(&here.root).map_err(|error| error.to_string());
        let found = owed.and_then(|owed| groups::groups(&here.root, &owed, &here.ways));
        let stand = match found {
            Ok(groups) => {
                let changes = groups::changes(&groups);
                self.work.groups = groups;
                open(changes)
            }
            Err(reason) => Stand::Bad(reason),
        };
        self.stand(Stage::Kubeconfigs, stand);
    }

    /// A worker may not read other nodes' objects, but sees what the masters serve.
    async fn on_worker(&mut self, here: &Here) {
        for master in &here.cluster.masters {
            self.facts.masters.push(Other {
                name: master.name.to_string(),
                record: None,
                without: here.is_left_out(here.names_of(&master.name)),
                serves_names: Some(serves_names(here, master).await),
            });
        }
    }

    async fn on_master(&mut self, site: &Site, me: &Name) -> Result<(), Error> {
        let here = &site.here;
        self.known(here)?;
        self.nodes(here, site.api.list("/api/v1/nodes").await?)?;
        let etcd = self.manifests(here, me);
        if etcd {
            self.members(here, me).await?;
        }
        let masters = std::mem::take(&mut self.masters).into_iter();
        let masters = masters.map(|it| it.to_canonical());
        let masters = masters.filter(|it| here.ways.stable.can_change(*it));
        self.masters = masters.collect();
        let kubeadm = self.objects(site).await?;
        self.certificates(here, &kubeadm, etcd).await
    }

    /// Masters' addresses that are known without asking anybody.
    fn known(&mut self, here: &Here) -> Result<(), Error> {
        self.masters = known::read(&here.root)?;
        self.masters.extend(here.ways.addresses.keys());
        self.masters.extend(here.cluster.routes.rescue.values());
        Ok(())
    }
}

fn open(changes: Vec<Change>) -> Stand {
    if changes.is_empty() {
        Stand::Done
    } else {
        Stand::Open(changes)
    }
}
