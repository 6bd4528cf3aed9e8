//! What is there now, on this node, on the others, in etcd and in the cluster: the facts for the plan,
//! and the work that its stages mean. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::certificates::{Serving, serving};
use super::error::Error;
use super::groups::{self, Group};
use super::objects::{self, DAEMON_SET, Map, Mend, PODS, Rollout, rollout};
use super::plan::{Change, Facts, Member, Other, Stand};
use super::site::Site;
use super::stage::{ANNOTATION, Record, Stage};
use super::{agent, difference, guard, known, manifests, owed};
use crate::api::etcd::{self, Etcd};
use crate::config::cluster::Master;
use crate::kubeadm::audit;
use crate::kubeadm::pin::Pin;
use crate::kubeadm::url;
use crate::name::Name;
use crate::pki::inventory;
use crate::pki::live;
use crate::pki::session::on_master;

/// The manifests that are mended.
const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";
const APISERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
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

/// A static pod's manifest that changes.
#[derive(Debug)]
pub struct NewManifest {
    /// As it was read.
    pub from: String,
    /// As it is to be.
    pub to: String,
}

/// This master's member of etcd, whose peer URLs change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: u64,
    /// What it says now.
    pub from: Vec<String>,
    /// What it is to say.
    pub to: Vec<String>,
}

/// Looks at everything. The API has to answer.
pub async fn look(site: &Site) -> Result<Look, Error> {
    let me = site.api.get(&site.node_path()).await?;
    let me = me.ok_or_else(|| Error::NoNode(site.node.kubernetes_name.to_string()))?;
    let mut look = Look {
        said: record(&me),
        ..Look::default()
    };
    look.facts.node = site.node.kubernetes_name.to_string();
    look.facts.master = site.node.master().cloned();
    let agent = match look.release(site).await {
        Ok(()) => agent::stand(site).await,
        Err(reason) => Stand::Bad(reason),
    };
    look.stand(Stage::Agent, agent);
    look.kubeconfigs(site);
    match site.node.master() {
        Some(master) => look.on_master(site, master).await?,
        None => look.on_worker(site).await,
    }
    look.audit(site);
    Ok(look)
}

impl Look {
    fn stand(&mut self, stage: Stage, stand: Stand) {
        self.facts.stands.insert(stage, stand);
    }

    /// Whether this release can do with names. What kube-apiserver says goes before the cluster file.
    async fn release(&mut self, site: &Site) -> Result<(), String> {
        // Not everybody may ask for it everywhere.
        let version = site.api.get("/version").await.ok().flatten();
        let minor = version.as_ref().and_then(guard::minor);
        let minor = minor.unwrap_or(site.cluster.kubernetes.minor);
        guard::release(&site.cluster, minor).map(|warning| self.warnings.extend(warning))
    }

    /// What no stage mends; the last one does not begin while that breaks this master.
    fn audit(&mut self, site: &Site) {
        let view = site.view();
        let found = audit::node(&site.root, &view);
        let open = self.facts.stands.values().any(|it| *it != Stand::Done);
        let before = self.facts.stands.iter();
        let mut before = before.filter(|(stage, _)| **stage < Stage::Addresses);
        let early = before.any(|(_, stand)| *stand != Stand::Done);
        let follows = !site.cluster.kubeadm.follow.is_empty();
        self.by_hand = guard::by_hand(found.pins, early, follows);
        if let Some(stand) = self.facts.stands.remove(&Stage::Addresses) {
            let rescued = !site.cluster.routes.rescue.is_empty();
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

    fn kubeconfigs(&mut self, site: &Site) {
        let owed = owed::read(&site.root).map_err(|error| error.to_string());
        let found = owed.and_then(|owed| groups::groups(&site.root, &owed, &site.ways));
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
    async fn on_worker(&mut self, site: &Site) {
        for master in &site.cluster.masters {
            self.facts.masters.push(Other {
                name: master.name.to_string(),
                record: None,
                without: site.is_left_out(site.names_of(&master.name)),
                serves_names: Some(serves_names(site, master).await),
            });
        }
    }

    async fn on_master(&mut self, site: &Site, me: &Name) -> Result<(), Error> {
        self.masters = known::read(&site.root)?;
        self.masters.extend(site.ways.addresses.keys());
        self.masters.extend(site.cluster.routes.rescue.values());
        self.nodes(site, site.api.list("/api/v1/nodes").await?)?;
        let etcd = self.manifests(site, me);
        if etcd {
            self.members(site, me).await?;
        }
        let masters = std::mem::take(&mut self.masters).into_iter();
        let masters = masters.map(|it| it.to_canonical());
        self.masters = masters
            .filter(|it| site.ways.stable.can_change(*it))
            .collect();
        let maps = self.objects(site).await?;
        self.certificates(site, &maps, etcd).await
    }

    /// The other nodes, and what they say.
    fn nodes(&mut self, site: &Site, nodes: Vec<Value>) -> Result<(), Error> {
        let name_of = |node: &Value| {
            node["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let masters = nodes.iter().filter(|node| is_control_plane(node));
        self.masters.extend(masters.flat_map(internal_addresses));
        let mut left: BTreeMap<String, Option<Record>> = nodes
            .iter()
            .map(|node| (name_of(node), record(node)))
            .collect();
        let mut known: BTreeSet<String> = left.keys().cloned().collect();
        left.remove(site.node.kubernetes_name.as_str());
        for master in &site.cluster.masters {
            let own = site.names_of(&master.name);
            known.extend(own.map(str::to_owned));
            let mine = site.node.master() == Some(&master.name);
            let node = node_of(&left, &master.name).filter(|_| !mine);
            let record = node.as_ref().and_then(|node| left.remove(node)).flatten();
            let called = own.into_iter().chain(node.as_deref());
            self.facts.masters.push(Other {
                name: master.name.to_string(),
                record,
                without: site.is_left_out(called),
                serves_names: None,
            });
        }
        self.facts.workers = left
            .into_iter()
            .map(|(name, record)| Other {
                without: site.is_left_out([name.as_str()]),
                name,
                record,
                serves_names: None,
            })
            .collect();
        let mut unknown = site.without.difference(&known);
        unknown
            .next()
            .map_or(Ok(()), |name| Err(Error::Unknown(name.clone())))
    }

    /// The cluster's objects; gives kubeadm's `ConfigMap`.
    async fn objects(&mut self, site: &Site) -> Result<Value, Error> {
        let mut changes = Vec::new();
        let mut bad = None;
        let mut kubeadm = Value::Null;
        let mut proxy = None;
        for map in Map::ALL {
            let Some(found) = site.api.get(&map.path()).await? else {
                continue;
            };
            match objects::config_map(map, &found, &self.masters, &site.ways) {
                Ok(Some(mend)) => {
                    changes.push(mend.change.clone());
                    self.work.maps.push(mend);
                }
                Ok(None) => {}
                Err(error) => bad = Some(format!("{} {error}", map.place())),
            }
            match map {
                Map::Kubeadm => kubeadm = found,
                Map::KubeProxy => proxy = Some(found),
                Map::ClusterInfo => {}
            }
        }
        let set = site.api.get(DAEMON_SET).await?;
        let pods = site.api.list(PODS).await?;
        let rollout = rollout(proxy.as_ref(), set.as_ref(), &pods, &site.without);
        let diff = match &rollout {
            Rollout::Done => None,
            Rollout::Patch(_) => {
                Some("+restart: its pods read their ConfigMap when they start\n".into())
            }
            Rollout::Waits(nodes) => Some(format!("+restart: on {}\n", nodes.join(", "))),
        };
        changes.extend(diff.map(|diff| Change {
            place: "DaemonSet kube-system/kube-proxy".to_owned(),
            diff,
        }));
        self.work.rollout = Some(rollout);
        self.stand(
            Stage::Cluster,
            bad.map_or_else(|| open(changes), Stand::Bad),
        );
        Ok(kubeadm)
    }

    /// Both manifests; whether this master runs a member of etcd.
    fn manifests(&mut self, site: &Site, me: &Name) -> bool {
        let etcd = manifest(site, ETCD, |text| manifests::etcd(text, me, &site.ways));
        let apiserver = manifest(site, APISERVER, |text| {
            manifests::apiserver(text, &site.ways)
        });
        // As they are, whether they are to be changed or not.
        let text = |path: &str| {
            let bytes = site.root.read(Path::new(path), LIMIT).ok()??;
            String::from_utf8(bytes).ok()
        };
        let named = text(ETCD).map(|text| manifests::etcd_addresses(&text));
        self.masters.extend(named.into_iter().flatten());
        let advertised = text(APISERVER).and_then(|text| manifests::advertised_address(&text));
        self.masters.extend(advertised);
        let (stand, new) = stand_of(ETCD, etcd);
        self.work.etcd = new;
        let has_etcd = stand.is_some();
        if let Some(stand) = stand {
            self.stand(Stage::Etcd, stand);
        }
        let (stand, new) = stand_of(APISERVER, apiserver);
        self.work.apiserver = new;
        let missing = || Stand::Bad(format!("{APISERVER} is not there"));
        self.stand(Stage::Apiserver, stand.unwrap_or_else(missing));
        has_etcd
    }

    async fn certificates(&mut self, site: &Site, maps: &Value, etcd: bool) -> Result<(), Error> {
        let wanted = on_master(&site.cluster, &site.node)?;
        let inventory = inventory::take(&site.root, &wanted);
        let found = objects::wanted_addresses(maps)
            .map_err(|error| format!("{} {error}", Map::Kubeadm.place()))
            .and_then(|keep| serving(&wanted, &inventory, &keep, &self.masters, etcd, &site.ways));
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
            && let Some(reason) = not_served(site).await
        {
            adding.push(Change {
                place: "kube-apiserver".to_owned(),
                diff: format!("+wait: {reason}\n"),
            });
        }
        for kept in all.iter().filter(|it| !it.asked_for.is_empty()) {
            let addresses: Vec<String> = kept.asked_for.iter().map(ToString::to_string).collect();
            self.notices.push(format!(
                "{} keeps {}, because kubeadm-config asks for it; if nobody dials it any more, take it out there and then out of the certificate: stayput certs renew {} --force --drop-name {}",
                kept.path.display(),
                addresses.join(" and "),
                kept.id,
                addresses.join(" --drop-name "),
            ));
        }
        for kept in all.iter().filter(|it| !it.strange.is_empty()) {
            let addresses: Vec<String> = kept.strange.iter().map(ToString::to_string).collect();
            self.notices.push(format!(
                "{} keeps {}, which nobody knows as a master's: a load balancer's, maybe; if nobody dials it any more, take it out: stayput certs renew {} --force --drop-name {}",
                kept.path.display(),
                addresses.join(" and "),
                kept.id,
                addresses.join(" --drop-name "),
            ));
        }
        self.work.serving = all;
        self.stand(Stage::Certificates, open(adding));
        self.stand(Stage::Addresses, open(dropping));
        Ok(())
    }

    /// etcd's members, and this master's own.
    async fn members(&mut self, site: &Site, me: &Name) -> Result<(), Error> {
        let local = Etcd::local(&site.root)?;
        let own = local.status().await?.id;
        for member in local.members().await? {
            let urls = member.peer_urls.iter();
            self.masters
                .extend(urls.flat_map(|url| url::addresses(url)));
            if member.id == own {
                self.peer(site, me, &member);
                continue;
            }
            let master = site.ways.members.get(&member.name);
            let mut names = vec![member.name.as_str()];
            names.extend(master.into_iter().flat_map(|it| site.names_of(it)));
            self.facts.members.push(Member {
                without: site.is_left_out(names),
                healthy: is_healthy(site, master, &member).await,
                name: member.name,
            });
        }
        Ok(())
    }

    fn peer(&mut self, site: &Site, me: &Name, member: &etcd::Member) {
        let to = manifests::peer_urls(&member.peer_urls, me, &site.ways);
        let stand = match to {
            None => Stand::Done,
            Some(to) => {
                let lines = |urls: &[String]| urls.join(",");
                let (old, new) = (lines(&member.peer_urls), lines(&to));
                let place = format!("etcd member {}", member.name);
                let change =
                    difference::of_values(&place, [("peer URL", old.as_str(), new.as_str())]);
                self.work.peer = Some(Peer {
                    id: member.id,
                    from: member.peer_urls.clone(),
                    to,
                });
                open(vec![change])
            }
        };
        self.stand(Stage::Peer, stand);
    }
}

fn open(changes: Vec<Change>) -> Stand {
    if changes.is_empty() {
        Stand::Done
    } else {
        Stand::Open(changes)
    }
}

/// What a Node says of itself.
fn record(node: &Value) -> Option<Record> {
    let text = node["metadata"]["annotations"][ANNOTATION].as_str()?;
    let mut record = Record::read(text)?;
    // A worker's kubelet may annotate its own Node, but not label it as a master.
    if !is_control_plane(node) {
        record.master = None;
    }
    Some(record)
}

/// Whether kubeadm has labelled a Node as a master.
fn is_control_plane(node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let is = |role: &str| !labels[format!("node-role.kubernetes.io/{role}")].is_null();
    is("control-plane") || is("master")
}

/// The addresses at which a Node is reached within the cluster.
pub(super) fn internal_addresses(node: &Value) -> Vec<IpAddr> {
    let all = node["status"]["addresses"].as_array();
    let all = all.into_iter().flatten();
    let internal = all.filter(|it| it["type"] == "InternalIP");
    internal
        .filter_map(|it| it["address"].as_str()?.parse().ok())
        .collect()
}

/// The Node of a master: the one that says so, else the one of its name.
fn node_of(nodes: &BTreeMap<String, Option<Record>>, master: &Name) -> Option<String> {
    let says = |record: &Option<Record>| {
        let record = record.as_ref();
        record.and_then(|it| it.master.as_ref()) == Some(master)
    };
    let by_word = nodes.iter().find(|(_, record)| says(record));
    let by_name = || {
        nodes
            .get_key_value(master.label())
            .or_else(|| nodes.get_key_value(master.as_str()))
    };
    by_word.or_else(by_name).map(|(name, _)| name.clone())
}

type Read = Option<Result<Option<NewManifest>, String>>;

fn manifest(
    site: &Site,
    path: &str,
    new: impl FnOnce(&str) -> Result<Option<String>, manifests::Error>,
) -> Read {
    let bytes = match site.root.read(Path::new(path), LIMIT) {
        Ok(bytes) => bytes?,
        Err(error) => return Some(Err(format!("cannot read {path}: {error}"))),
    };
    let Ok(from) = String::from_utf8(bytes) else {
        return Some(Err(format!("{path} is no UTF-8 text")));
    };
    let to = new(&from).map_err(|error| format!("{path} {error}"));
    Some(to.map(|to| to.map(|to| NewManifest { from, to })))
}

/// How it stands with a manifest; nothing where there is none.
fn stand_of(path: &str, read: Read) -> (Option<Stand>, Option<NewManifest>) {
    match read {
        None => (None, None),
        Some(Err(reason)) => (Some(Stand::Bad(reason)), None),
        Some(Ok(None)) => (Some(Stand::Done), None),
        Some(Ok(Some(new))) => {
            let change = difference::of_texts(path, &new.from, &new.to);
            (Some(Stand::Open(vec![change])), Some(new))
        }
    }
}

/// Whether a member answers and has a leader.
async fn is_healthy(site: &Site, master: Option<&Name>, member: &etcd::Member) -> bool {
    let client = match master {
        Some(master) => Etcd::of_master(&site.root, master, &site.directory),
        None => match member.client_urls.first() {
            Some(url) => Etcd::at(&site.root, url, &site.directory),
            None => return false,
        },
    };
    match client {
        Ok(client) => client.within(PATIENCE).healthy().await.is_ok(),
        Err(_) => false,
    }
}

/// Why this master's kube-apiserver does not serve the certificate that lies there yet, if so.
pub(super) async fn not_served(site: &Site) -> Option<String> {
    let servers = live::servers(&site.cluster, &site.node, &[]);
    let servers: Vec<_> = servers
        .into_iter()
        .filter(|it| it.name == "kube-apiserver")
        .collect();
    let root = site.root.clone();
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
async fn serves_names(site: &Site, master: &Master) -> bool {
    let endpoint = site.cluster.endpoint.name.to_string();
    let port = site.cluster.kubernetes.api_port;
    let addresses = site.book.addresses(&master.name).to_vec();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_master_s_node_is_believed_to_be_one() {
        let said = r#"{"at":null,"done":"peer","master":"master-1.k8s.internal"}"#;
        let node = |label: &str| {
            json!({
                "metadata": {"annotations": {ANNOTATION: said}, "labels": {label: ""}},
                "status": {"addresses": [
                    {"type": "Hostname", "address": "w"},
                    {"type": "InternalIP", "address": "10.77.0.11"},
                ]},
            })
        };
        for (label, is) in [
            ("node-role.kubernetes.io/control-plane", true),
            ("node-role.kubernetes.io/master", true),
            ("kubernetes.io/os", false),
        ] {
            let record = record(&node(label)).unwrap();
            assert_eq!(record.master.is_some(), is, "{label}");
            assert_eq!(record.done, Some(Stage::Peer));
        }
        let address: IpAddr = "10.77.0.11".parse().unwrap();
        assert_eq!(internal_addresses(&node("x")), [address]);
        assert!(internal_addresses(&json!({})).is_empty());
    }
}
