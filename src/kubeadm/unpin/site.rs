//! One node of a cluster, and how the others and the cluster are asked from it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::begin;
use super::error::Error;
use super::pins::Ways;
use crate::api::directory::Directory;
use crate::api::kubernetes::{self, ADMIN, KUBELET, Kubernetes};
use crate::book::Book;
use crate::config::{Cluster, Node};
use crate::masters;
use crate::name::Name;
use crate::root::Root;
use crate::state::{self, Loaded};
use crate::view::View;

/// What this node knows without asking anybody.
#[derive(Debug, Clone)]
pub struct Here {
    /// Below which everything lies.
    pub root: Root,
    /// The cluster file.
    pub cluster: Cluster,
    /// This node's part in it.
    pub node: Node,
    /// Where the masters are.
    pub book: Arc<Book>,
    /// The same, for URLs.
    pub directory: Directory,
    /// Which addresses are to go.
    pub ways: Ways,
    /// Nodes and masters that are not waited for, as the operator calls them.
    pub without: BTreeSet<String>,
}

/// The same with somebody who answers for the cluster.
#[derive(Debug)]
pub struct Site {
    /// This node.
    pub here: Here,
    /// kube-apiserver: a master's own, or through the local HAProxy.
    pub api: Kubernetes,
}

impl Site {
    /// Finds who answers.
    pub async fn open(here: Here) -> Result<Self, Error> {
        match api(&here).await {
            Ok(api) => Ok(Self { here, api }),
            Err(error) => Err(begin::obstacle(error, &here.cluster, &here.node)),
        }
    }
}

impl Here {
    /// Reads what is needed to ask.
    pub fn open(root: &Root, cluster: Cluster, node: Node, without: BTreeSet<String>) -> Self {
        let book = Arc::new(match state::peek(root) {
            Loaded::Good(state) => state.book,
            // The agent, which is asked later, tells what is wrong with it.
            _ => Book::default(),
        });
        let cluster = Cluster::clone(&masters::effective(&Arc::new(cluster), &book));
        let directory = Directory::of(&View {
            cluster: Arc::new(cluster.clone()),
            node: Arc::new(node.clone()),
            book: book.clone(),
            provisioned: false,
        });
        let mut ways = Ways::of(&cluster);
        for (name, record) in &book.records {
            let addresses = record.addresses.iter();
            ways.addresses
                .extend(addresses.map(|it| (*it, name.clone())));
        }
        if let Some(name) = node.master() {
            let member = node.kubernetes_name.as_str().to_owned();
            ways.members.insert(member, name.clone());
        }
        Self {
            root: root.clone(),
            cluster,
            node,
            book,
            directory,
            ways,
            without,
        }
    }

    /// The same picture as everything else is made from.
    pub fn view(&self) -> View {
        View {
            cluster: Arc::new(self.cluster.clone()),
            node: Arc::new(self.node.clone()),
            book: self.book.clone(),
            provisioned: false,
        }
    }

    /// The path of this node's Node object.
    pub fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", self.node.kubernetes_name)
    }

    /// Whether the operator leaves out something of one of these names.
    pub fn is_left_out<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().any(|name| self.without.contains(name))
    }

    /// All names of a master.
    pub fn names_of<'a>(&self, master: &'a Name) -> [&'a str; 2] {
        [master.as_str(), master.label()]
    }
}

/// A master asks its own kube-apiserver, whatever its kubeconfigs say so far. A worker asks as its kubelet
/// does, and else through its HAProxy, which listens on loopback as a master's kube-apiserver does: before
/// anything is mended HAProxy knows no master yet, and afterwards an address may be an old one.
async fn api(here: &Here) -> Result<Kubernetes, kubernetes::Error> {
    let (root, cluster) = (&here.root, &here.cluster);
    if here.node.master().is_some() {
        return Kubernetes::local_apiserver(root, Path::new(ADMIN), cluster);
    }
    let kubelet = Kubernetes::from_kubeconfig(root, Path::new(KUBELET), &here.directory)?;
    match kubelet.get(&here.node_path()).await {
        Err(error) if error.is_absent() => {}
        _ => return Ok(kubelet),
    }
    let mut through = cluster.clone();
    through.kubernetes.api_port = cluster.endpoint.port;
    Kubernetes::local_apiserver(root, Path::new(KUBELET), &through)
}
