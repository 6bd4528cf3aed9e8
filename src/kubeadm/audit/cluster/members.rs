//! etcd's member list: where members tell others to reach them.

use super::addresses::Saying;
use super::master_of;
use crate::api::etcd::{CLIENTS, Member, PEERS};
use crate::kubeadm::pin::{Pin, Severity};
use crate::view::View;

/// Members that others reach by address.
pub fn members(members: &[Member], view: &View) -> Vec<Pin> {
    members
        .iter()
        .flat_map(|member| one(member, view))
        .collect()
}

fn one(member: &Member, view: &View) -> Vec<Pin> {
    let name = match master_of(view, member) {
        Some(master) => master.as_str(),
        None => "the master's name",
    };
    let place = match member.name.as_str() {
        "" => format!("etcd member {:x}", member.id),
        name => format!("etcd member {name}"),
    };
    let peers = member.peer_urls.iter().filter_map(|url| {
        let saying = Saying {
            severity: Severity::Fatal,
            place: place.clone(),
            what: "peer URL".to_owned(),
            breaks: "the other members do not reach this one; without a majority of members etcd, and the \
                     whole cluster with it, stands still",
            instead: format!("https://{name}:{PEERS}"),
        };
        saying.of(url, view)
    });
    let clients = member.client_urls.iter().filter_map(|url| {
        let saying = Saying {
            severity: Severity::Misleading,
            place: place.clone(),
            what: "client URL".to_owned(),
            breaks: "etcdctl --cluster and kubeadm, which go by the member list, do not reach this member",
            instead: format!("https://{name}:{CLIENTS}"),
        };
        saying.of(url, view)
    });
    peers.chain(clients).collect()
}
