//! kubeadm's configuration for one node: `kubeadm init --config` and `kubeadm join --config`.
//!
//! What it says holds for the cluster (`ClusterConfiguration`, which kubeadm keeps in a `ConfigMap` and
//! gives to every master that joins) or for this node. The former has no master's own name in it: kubeadm
//! asks for each of its certificate names in every master's certificates. The kubelet's configuration is
//! not part of it.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use super::upgrade::{self, Api, NEEDS_STABLE_SINCE, SKIPPED_BY_JOIN};
use crate::api::etcd::{CLIENTS, PEERS};
use crate::config::cluster::Master;
use crate::config::node::{Role, Selection};
use crate::config::{Cluster, Node, Problems};
use crate::name::{Name, NameError};
use crate::pki::catalogue::Catalogue;
use crate::pki::profile::Names;
use crate::pki::wanted::wanted;
use crate::yaml::{self, Tree, mapping, texts};

/// What else belongs into the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The cluster file.
    pub cluster: &'a Cluster,
    /// This node's part.
    pub node: &'a Node,
    /// This master's addresses now, the preferred one first; empty on a worker.
    pub addresses: &'a [IpAddr],
    /// Where the node's patches are.
    pub patches: &'a Path,
    /// The container runtime's socket, where kubeadm is not to look for it.
    pub cri_socket: Option<&'a str>,
}

/// What a node that joins needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// A bootstrap token.
    pub token: &'a str,
    /// `sha256:` and the digest of the cluster authority's public key, one or more.
    pub hashes: &'a [String],
    /// Whether somebody gave the digests; else they are of this node's copy of the authority.
    pub hashes_are_given: bool,
}

/// A configuration, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// `kubeadm.k8s.io/v1beta4`.
    pub api_version: &'static str,
    /// The YAML, with the commands as comments at its head.
    pub text: String,
    /// What is to be run, in this order; FILE is the configuration's.
    pub commands: Vec<String>,
    /// What a later upgrade is to be called with; on a worker, the one command.
    pub upgrade: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A worker makes no cluster.
    #[error("this node is a worker, and a cluster is made on a master; use --join")]
    Worker,
    /// Neither a stable address nor a current one.
    #[error("the address of {0} is not known; tell it with `stayput event`, or start the agent")]
    NoAddress(Name),
    /// A release that cannot work without stable addresses.
    #[error(
        "{master} has no stable address, and kubeadm from 1.{NEEDS_STABLE_SINCE} on needs one: it asks for the advertise address in kube-apiserver's certificate. Give every master a 'stable' address in the cluster file"
    )]
    NeedsStable {
        /// This master.
        master: Name,
    },
    /// The built-in catalogue or the operator's rows.
    #[error(transparent)]
    Catalogue(#[from] Problems),
    /// Not a name.
    #[error("no name for a master that is still to come: {0}")]
    Name(#[from] NameError),
}

/// kubeadm's own name of the cluster, which is in kubeconfigs.
const CLUSTER: &str = "kubernetes";

/// The configuration for `kubeadm init`.
pub fn init(wanted: &Wanted<'_>) -> Result<Configuration, Error> {
    let Role::Master(name) = &wanted.node.role else {
        return Err(Error::Worker);
    };
    let way = Way::of(wanted, name)?;
    let mut own = wanted.document("InitConfiguration");
    own.push(("localAPIEndpoint", wanted.local_endpoint(&way)));
    own.push(("nodeRegistration", wanted.registration()));
    wanted.push_patches(&way, &mut own);
    let shared = wanted.cluster_configuration(&way)?;
    let mut commands = vec!["stayput certs init --new-cluster".to_owned()];
    commands.extend(wanted.patches_command(&way));
    let flag = wanted.patches_argument(&way);
    commands.push(format!("kubeadm init --config FILE{flag}"));
    commands.push("stayput provisioned".to_owned());
    Ok(wanted.finish(Some(&way), commands, None, &[mapping(own), shared]))
}

/// The configuration for `kubeadm join`.
pub fn join(wanted: &Wanted<'_>, joining: Joining<'_>) -> Result<Configuration, Error> {
    let discovery = mapping([(
        "bootstrapToken",
        mapping([
            ("apiServerEndpoint", wanted.endpoint().into()),
            ("token", joining.token.into()),
            ("caCertHashes", texts(joining.hashes)),
        ]),
    )]);
    let mut own = wanted.document("JoinConfiguration");
    own.push(("discovery", discovery));
    own.push(("nodeRegistration", wanted.registration()));
    let Role::Master(name) = &wanted.node.role else {
        let commands = vec!["kubeadm join --config FILE".to_owned()];
        return Ok(wanted.finish(None, commands, Some(joining), &[mapping(own)]));
    };
    let way = Way::of(wanted, name)?;
    let endpoint = ("localAPIEndpoint", wanted.local_endpoint(&way));
    own.push(("controlPlane", mapping([endpoint])));
    wanted.push_patches(&way, &mut own);
    let mut others = wanted.cluster.masters.iter().map(|master| &master.name);
    let other = others.find(|other| *other != name);
    let other = other.map_or("ANOTHER-MASTER", Name::as_str);
    let mut commands = vec![
        format!("ssh {other} stayput certs bundle | stayput certs unbundle"),
        "stayput certs init".to_owned(),
    ];
    commands.extend(wanted.patches_command(&way));
    let mut command = "kubeadm join --config FILE".to_owned();
    match way {
        Way::Stable(_) => commands.push(command),
        Way::Names(_) => {
            command += &wanted.patches_argument(&way);
            let _ = write!(command, " --skip-phases={SKIPPED_BY_JOIN}");
            commands.push(command);
            commands.push("stayput kubeadm join-etcd".to_owned());
        }
    }
    commands.push("stayput provisioned".to_owned());
    Ok(wanted.finish(Some(&way), commands, Some(joining), &[mapping(own)]))
}

/// Refuses a master without a stable address where kubeadm of the cluster's release needs one.
pub fn check_release(cluster: &Cluster, master: &Name) -> Result<(), Error> {
    let stable = cluster.master(master).and_then(|master| master.stable);
    if stable.is_none() && cluster.kubernetes.minor >= NEEDS_STABLE_SINCE {
        let master = master.clone();
        return Err(Error::NeedsStable { master });
    }
    Ok(())
}

/// What is written of a master's address.
enum Way {
    /// An address that never changes.
    Stable(IpAddr),
    /// The current one, and names wherever kubeadm takes them.
    Names(IpAddr),
}

impl Way {
    fn of(wanted: &Wanted<'_>, master: &Name) -> Result<Self, Error> {
        let stable = wanted.cluster.master(master).and_then(|m| m.stable);
        if let Some(stable) = stable {
            return Ok(Self::Stable(stable));
        }
        check_release(wanted.cluster, master)?;
        let address = wanted.addresses.first();
        let address = address.ok_or_else(|| Error::NoAddress(master.clone()))?;
        Ok(Self::Names(*address))
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::Stable(address) | Self::Names(address) => *address,
        }
    }

    fn has_patches(&self) -> bool {
        matches!(self, Self::Names(_))
    }
}

impl<'a> Wanted<'a> {
    fn api(&self) -> Api {
        Api::of(self.cluster.kubernetes.minor)
    }

    fn endpoint(&self) -> String {
        let endpoint = &self.cluster.endpoint;
        format!("{}:{}", endpoint.name, endpoint.port)
    }

    fn document(&self, kind: &str) -> Vec<(&'a str, Tree)> {
        vec![
            ("apiVersion", self.api().as_str().into()),
            ("kind", kind.into()),
        ]
    }

    fn local_endpoint(&self, way: &Way) -> Tree {
        mapping([
            ("advertiseAddress", way.address().to_string().into()),
            (
                "bindPort",
                Tree::Integer(self.cluster.kubernetes.api_port.into()),
            ),
        ])
    }

    fn registration(&self) -> Tree {
        let name = self.node.kubernetes_name.as_str();
        let mut fields = vec![("name", name.into())];
        if let Some(socket) = self.cri_socket {
            // From 1.24 on a path without a scheme is deprecated; before, one with it is not understood
            // by every check (kubernetes/kubernetes#100578).
            let scheme = socket.starts_with('/') && self.cluster.kubernetes.minor >= 24;
            let scheme = if scheme { "unix://" } else { "" };
            fields.push(("criSocket", format!("{scheme}{socket}").into()));
        }
        mapping(fields)
    }

    fn push_patches(&self, way: &Way, document: &mut Vec<(&'a str, Tree)>) {
        if way.has_patches() && self.api().has_patches() {
            let directory = self.patches.display().to_string();
            document.push(("patches", mapping([("directory", directory.into())])));
        }
    }

    fn patches_command(&self, way: &Way) -> Option<String> {
        let folder = upgrade::argument(self.patches);
        way.has_patches()
            .then(|| format!("stayput kubeadm patches {folder}"))
    }

    /// The flag for `init` and `join`, where the configuration does not name the folder.
    fn patches_argument(&self, way: &Way) -> String {
        if way.has_patches() && !self.api().has_patches() {
            upgrade::patches_flag(self.cluster.kubernetes.minor, self.patches)
        } else {
            String::new()
        }
    }

    fn cluster_configuration(&self, way: &Way) -> Result<Tree, Error> {
        let kubernetes = &self.cluster.kubernetes;
        let names = SharedNames::of(self.cluster)?;
        let mut document = self.document("ClusterConfiguration");
        if let Some(patch) = kubernetes.patch {
            let version = format!("v1.{}.{patch}", kubernetes.minor);
            document.push(("kubernetesVersion", version.into()));
        }
        document.push(("clusterName", CLUSTER.into()));
        document.push(("controlPlaneEndpoint", self.endpoint().into()));
        let mut networking = vec![
            ("dnsDomain", kubernetes.dns_domain.as_str().into()),
            (
                "serviceSubnet",
                kubernetes.service_subnet.to_string().into(),
            ),
        ];
        if let Some(pods) = kubernetes.pod_subnet {
            networking.push(("podSubnet", pods.to_string().into()));
        }
        document.push(("networking", mapping(networking)));
        let sans = |names: &Names| texts(names.list());
        let apiserver = mapping([("certSANs", sans(&names.apiserver))]);
        document.push(("apiServer", apiserver));
        let mut etcd = vec![
            ("serverCertSANs", sans(&names.etcd_server)),
            ("peerCertSANs", sans(&names.etcd_peer)),
        ];
        if way.has_patches() {
            let listen = |port| format!("https://0.0.0.0:{port}");
            let arguments = [
                ("listen-client-urls", listen(CLIENTS)),
                ("listen-peer-urls", listen(PEERS)),
            ];
            etcd.push(("extraArgs", self.extra_args(arguments)));
        }
        document.push(("etcd", mapping([("local", mapping(etcd))])));
        Ok(mapping(document))
    }

    fn extra_args<const N: usize>(&self, arguments: [(&str, String); N]) -> Tree {
        if self.api() < Api::V1Beta4 {
            return mapping(arguments.map(|(name, value)| (name, value.into())));
        }
        let item = |(name, value): (&str, String)| {
            mapping([("name", name.into()), ("value", value.into())])
        };
        Tree::Sequence(arguments.map(item).into())
    }

    fn finish(
        &self,
        way: Option<&Way>,
        commands: Vec<String>,
        joining: Option<Joining<'_>>,
        documents: &[Tree],
    ) -> Configuration {
        let upgrade = way.map_or_else(
            || vec!["kubeadm upgrade node".to_owned()],
            |way| self.upgrade(way),
        );
        let mut text = String::new();
        for line in self.head(way, &commands, joining, &upgrade) {
            let _ = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        for (index, document) in documents.iter().enumerate() {
            if index > 0 {
                // Not before the first: to kubeadm comments alone are a document without a kind.
                text += "---\n";
            }
            text += &yaml::write(document);
        }
        Configuration {
            api_version: self.api().as_str(),
            text,
            commands,
            upgrade,
        }
    }

    /// The commands of a later upgrade: on the first master, and on every other one.
    fn upgrade(&self, way: &Way) -> Vec<String> {
        let minor = self.cluster.kubernetes.minor;
        let folder = way.has_patches().then_some(self.patches);
        let flags = |minor| upgrade::upgrade_flags(minor, folder);
        vec![
            format!("kubeadm upgrade apply VERSION {}", flags(minor)),
            format!("kubeadm upgrade node {}", flags(minor)),
        ]
    }

    fn head(
        &self,
        way: Option<&Way>,
        commands: &[String],
        joining: Option<Joining<'_>>,
        upgrade: &[String],
    ) -> Vec<String> {
        let (minor, patch) = (self.cluster.kubernetes.minor, self.cluster.kubernetes.patch);
        let mut lines = vec![
            format!(
                "kubeadm's configuration for {}, by `stayput kubeadm config`.",
                self.node.kubernetes_name
            ),
            "The kubelet's own configuration is not part of it.".into(),
            String::new(),
            "In this order, FILE being this file:".into(),
        ];
        lines.extend(commands.iter().map(|command| format!("  {command}")));
        if let Some(joining) = joining {
            let from = if joining.hashes_are_given {
                "given by --ca-cert-hash."
            } else {
                "of /etc/kubernetes/pki/ca.crt on this node; --ca-cert-hash gives another."
            };
            lines.extend([
                String::new(),
                format!("caCertHashes is {from}"),
                "On a master `kubeadm token create --print-join-command` prints it.".into(),
            ]);
        }
        if let Some(Way::Names(_)) = way {
            lines.extend([
                String::new(),
                "This master has no stable address: advertiseAddress is the current one, and"
                    .into(),
                "everything else is written by name. Keep the patches: every upgrade needs them."
                    .into(),
            ]);
            if minor + 1 >= NEEDS_STABLE_SINCE {
                lines.push(format!(
                    "An upgrade to 1.{NEEDS_STABLE_SINCE} needs a 'stable' address for every master first."
                ));
            }
        }
        lines.push(String::new());
        if way.is_some() {
            lines.extend([
                "An upgrade, on the first master and then on every other one; stayput renews the"
                    .into(),
                "certificates:".into(),
            ]);
        } else {
            lines.push("An upgrade, once the masters are done:".into());
        }
        lines.extend(upgrade.iter().map(|command| format!("  {command}")));
        if minor == 21 && way.is_some_and(Way::has_patches) {
            lines.push("kubeadm 1.22 calls --experimental-patches --patches.".into());
        }
        if patch.is_none() && way.is_some() {
            lines.extend([
                String::new(),
                "The cluster file's kubernetes.version has no patch release, so kubernetesVersion is".into(),
                "left out: kubeadm asks dl.k8s.io for the newest release. Give one such as".into(),
                format!("\"1.{minor}.2\" instead."),
            ]);
        }
        lines
    }
}

/// The names that the certificates of every master have.
#[derive(Default)]
struct SharedNames {
    apiserver: Names,
    etcd_server: Names,
    etcd_peer: Names,
}

/// A label that is no master's.
const STRANGER: &str = "a-master-that-is-still-to-come";

impl SharedNames {
    /// Those that the certificates of all masters of the file have, and of one that is still to come.
    fn of(cluster: &Cluster) -> Result<Self, Error> {
        let catalogue = Catalogue::of(cluster)?;
        let mut larger = cluster.clone();
        larger.masters.push(Master {
            name: Name::parse(STRANGER)?.below(&cluster.domain)?,
            addresses: Vec::new(),
            follow: None,
            stable: None,
        });
        let sets = larger.masters.iter().map(|master| {
            let node = Node {
                role: Role::Master(master.name.clone()),
                kubernetes_name: master.name.clone(),
                selection: Selection::DefaultRoute,
            };
            let items = wanted(&catalogue, &larger, &node).items;
            let names = |id: &str| {
                let item = items.iter().find(|item| item.id == id);
                item.map_or_else(Names::default, |item| item.profile.names.clone())
            };
            Self {
                apiserver: names("apiserver"),
                etcd_server: names("etcd-server"),
                etcd_peer: names("etcd-peer"),
            }
        });
        let common = |one: &Names, other: &Names| one.without(&other.lacks(one));
        let shared = sets.reduce(|one, other| Self {
            apiserver: common(&one.apiserver, &other.apiserver),
            etcd_server: common(&one.etcd_server, &other.etcd_server),
            etcd_peer: common(&one.etcd_peer, &other.etcd_peer),
        });
        Ok(shared.unwrap_or_default())
    }
}
