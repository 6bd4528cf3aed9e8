//! A control plane of plain values: what tests of the plan and of the health share. No keys are made.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{Action, Decision};
use crate::pki::catalogue::{Reload, User};
use crate::pki::certificate::Certificate;
use crate::pki::identity;
use crate::pki::inventory::{Found, Inventory, KeyState, KubeconfigState, Present, Signer};
use crate::pki::issue::Validity;
use crate::pki::key::KeyType;
use crate::pki::profile::{Names, Profile, Usages};
use crate::pki::wanted::{Item, Kind, Wanted};

pub(in crate::pki) const HOUR: i64 = 3600;
pub(in crate::pki) const DAY: i64 = 24 * HOUR;
pub(in crate::pki) const YEAR: i64 = 365 * DAY;
/// 2026-01-01T00:00:00Z.
pub(in crate::pki) const NOW: i64 = 1_767_225_600;

pub(in crate::pki) fn names(list: &[&str]) -> Names {
    let mut names = Names::default();
    for name in list {
        match name.parse::<IpAddr>() {
            Ok(address) => names.addresses.push(address),
            Err(_) => drop(names.dns.insert((*name).to_owned())),
        }
    }
    names
}

fn item(id: &str, kind: Kind, common_name: &str, validity: i64) -> Item {
    Item {
        id: id.to_owned(),
        kind,
        profile: Profile {
            common_name: common_name.to_owned(),
            ..Profile::default()
        },
        key_type: KeyType::EcdsaP256,
        validity: u64::try_from(validity).unwrap(),
        new_cluster_only: false,
        users: vec![User {
            process: "kube-apiserver".to_owned(),
            reload: Reload::Itself,
        }],
    }
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(format!("/etc/kubernetes/{path}"))
}

fn authority(id: &str, path: &str) -> Item {
    let kind = Kind::Authority {
        certificate: file(&format!("{path}.crt")),
        key: file(&format!("{path}.key")),
    };
    item(id, kind, id, 10 * YEAR)
}

fn leaf(id: &str, path: &str, authority: &str, all: &[&str]) -> Item {
    let kind = Kind::Leaf {
        certificate: file(&format!("{path}.crt")),
        key: file(&format!("{path}.key")),
        authority: authority.to_owned(),
    };
    let mut leaf = item(id, kind, id, YEAR);
    leaf.profile.names = names(all);
    leaf.profile.usages = Usages {
        server: true,
        client: false,
    };
    leaf
}

fn kubeconfig(id: &str, user: &str, group: &str) -> Item {
    let kind = Kind::Kubeconfig {
        path: file(id),
        authority: "ca".to_owned(),
        server: "https://api.k8s.internal:8443".to_owned(),
    };
    let mut kubeconfig = item(id, kind, user, YEAR);
    kubeconfig.profile.organizations = vec![group.to_owned()];
    kubeconfig.profile.usages.client = true;
    kubeconfig
}

/// Two authorities, the service-account key, two leaves and two kubeconfigs, one of them for the
/// first master only.
pub(in crate::pki) fn wanted() -> Wanted {
    let sa = Kind::KeyPair {
        key: file("pki/sa.key"),
        public: file("pki/sa.pub"),
    };
    let mut sa = item("sa", sa, "", 0);
    sa.profile = Profile::default();
    let mut kubelet = kubeconfig("kubelet.conf", "system:node:master-1", "system:nodes");
    kubelet.new_cluster_only = true;
    "kubelet".clone_into(&mut kubelet.users[0].process);
    let apiserver = ["kubernetes", "master-1.k8s.internal", "127.0.0.1"];
    let mut etcd = leaf("etcd-server", "pki/etcd/server", "etcd-ca", &["localhost"]);
    etcd.users[0] = User {
        process: "etcd".to_owned(),
        reload: Reload::StaticPod,
    };
    Wanted {
        items: vec![
            authority("ca", "pki/ca"),
            authority("etcd-ca", "pki/etcd/ca"),
            sa,
            leaf("apiserver", "pki/apiserver", "ca", &apiserver),
            etcd,
            kubeconfig("admin.conf", "kubernetes-admin", "kubeadm:cluster-admins"),
            kubelet,
        ],
        renew_before: 30 * 86_400,
        leaf_constraints: true,
    }
}

/// The same, and the pair by which the master speaks.
pub(in crate::pki) fn wanted_to_speak() -> Wanted {
    let mut wanted = wanted();
    let name = "master-1.stayput.k8s.internal";
    let mut own = leaf(identity::ID, "pki/stayput", "ca", &[name]);
    own.profile.common_name = name.to_owned();
    own.profile.organizations = vec![identity::ORGANIZATION.to_owned()];
    own.profile.usages.client = true;
    wanted.items.push(own);
    wanted
}

/// The item of that id.
pub(in crate::pki) fn named<'a>(wanted: &'a mut Wanted, id: &str) -> &'a mut Item {
    wanted.items.iter_mut().find(|item| item.id == id).unwrap()
}

/// What was found of that id, a certificate.
pub(in crate::pki) fn present<'a>(inventory: &'a mut Inventory, id: &str) -> &'a mut Present {
    match inventory.found.get_mut(id) {
        Some(Found::Present(present)) => present,
        other => panic!("{id} is {other:?}"),
    }
}

/// A certificate that says what the item asks for.
pub(in crate::pki) fn certificate(profile: &Profile, validity: Validity) -> Certificate {
    Certificate {
        der: Vec::new(),
        profile: profile.clone(),
        subject: format!("CN={}", profile.common_name),
        subject_der: Vec::new(),
        issuer: String::new(),
        issuer_der: Vec::new(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        serial: "2a".to_owned(),
        public_key: Vec::new(),
        is_authority: false,
    }
}

fn good(item: &Item, profile: &Profile, validity: Validity) -> Found {
    let kubeconfig = match &item.kind {
        Kind::KeyPair { .. } => {
            return Found::KeyPair {
                exposed: Vec::new(),
            };
        }
        Kind::Kubeconfig { server, .. } => Some(KubeconfigState {
            server: server.clone(),
            trusts_authority: true,
        }),
        _ => None,
    };
    Found::Present(Box::new(Present {
        chain: Vec::new(),
        certificate: certificate(profile, validity),
        key: KeyState::Matches,
        signer: Signer::Ours,
        exposed: Vec::new(),
        kubeconfig,
    }))
}

/// Everything that is wanted is there; authorities and leaves end at these times.
pub(in crate::pki) fn complete(wanted: &Wanted, authorities: i64, leaves: i64) -> Inventory {
    let mut inventory = Inventory::default();
    for item in &wanted.items {
        let (lifetime, not_after) = match item.kind {
            Kind::Authority { .. } => (10 * YEAR, authorities),
            _ => (YEAR, leaves),
        };
        let validity = Validity {
            not_before: not_after.saturating_sub(lifetime),
            not_after,
        };
        let found = good(item, &item.profile, validity);
        inventory.found.insert(item.id.clone(), found);
    }
    inventory
}

/// Does what the decisions say.
pub(in crate::pki) fn carry_out(
    wanted: &Wanted,
    inventory: &mut Inventory,
    decisions: &[Decision],
) {
    for decision in decisions {
        let item = wanted.items.iter().find(|item| item.id == decision.id);
        let item = item.unwrap();
        let found = match &decision.action {
            Action::Keep | Action::Refuse => continue,
            Action::RestorePublic => Found::KeyPair {
                exposed: Vec::new(),
            },
            Action::Issue { profile, validity }
            | Action::Renew {
                profile, validity, ..
            } => good(item, profile, *validity),
        };
        inventory.found.insert(item.id.clone(), found);
    }
}
