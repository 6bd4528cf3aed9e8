//! The manifests of etcd and kube-apiserver on this node.

use std::path::Path;

use super::{LIMIT, Look};
use crate::kubeadm::cluster_status;
use crate::kubeadm::unpin::plan::Stand;
use crate::kubeadm::unpin::site::Here;
use crate::kubeadm::unpin::stage::Stage;
use crate::kubeadm::unpin::{difference, manifests};
use crate::name::Name;

const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";
const APISERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// A static pod's manifest that changes.
#[derive(Debug)]
pub struct NewManifest {
    /// As it was read.
    pub from: String,
    /// As it is to be.
    pub to: String,
}

type Read = Option<Result<Option<NewManifest>, String>>;

impl Look {
    /// Both manifests; whether this master runs a member of etcd.
    pub(super) fn manifests(&mut self, here: &Here, me: &Name) -> bool {
        let etcd = manifest(here, ETCD, |text| manifests::etcd(text, me, &here.ways));
        let apiserver = manifest(here, APISERVER, |text| {
            manifests::apiserver(text, &here.ways)
        });
        // As they are, whether they are to be changed or not.
        let text = |path: &str| {
            let bytes = here.root.read(Path::new(path), LIMIT).ok()??;
            String::from_utf8(bytes).ok()
        };
        let named = text(ETCD).map(|text| manifests::etcd_addresses(&text));
        self.masters.extend(named.into_iter().flatten());
        let advertised = text(APISERVER).and_then(|text| manifests::advertised_address(&text));
        self.masters.extend(advertised);
        self.places
            .extend(cluster_status::own(&here.view(), advertised).unwrap_or_default());
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
}

fn manifest(
    here: &Here,
    path: &str,
    new: impl FnOnce(&str) -> Result<Option<String>, manifests::Error>,
) -> Read {
    let bytes = match here.root.read(Path::new(path), LIMIT) {
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
