//! etcd's members: how the others are, and where this master's own is reached.

use super::{Look, PATIENCE, open};
use crate::api::etcd::{self, Etcd};
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::plan::{Member, Stand};
use crate::kubeadm::unpin::site::Here;
use crate::kubeadm::unpin::stage::Stage;
use crate::kubeadm::unpin::{difference, manifests};
use crate::kubeadm::url;
use crate::name::Name;

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

impl Look {
    /// etcd's members, and this master's own.
    pub(super) async fn members(&mut self, here: &Here, me: &Name) -> Result<(), Error> {
        let local = Etcd::local(&here.root)?;
        let own = local.status().await?.id;
        for member in local.members().await? {
            let urls = member.peer_urls.iter();
            self.masters
                .extend(urls.flat_map(|url| url::addresses(url)));
            if member.id == own {
                self.peer(here, me, &member);
                continue;
            }
            let master = here.ways.members.get(&member.name);
            let mut names = vec![member.name.as_str()];
            names.extend(master.into_iter().flat_map(|it| here.names_of(it)));
            self.facts.members.push(Member {
                without: here.is_left_out(names),
                healthy: is_healthy(here, master, &member).await,
                name: member.name,
            });
        }
        Ok(())
    }

    pub(super) fn peer(&mut self, here: &Here, me: &Name, member: &etcd::Member) {
        let to = manifests::peer_urls(&member.peer_urls, me, &here.ways);
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

/// Whether a member answers and has a leader.
async fn is_healthy(here: &Here, master: Option<&Name>, member: &etcd::Member) -> bool {
    let client = match master {
        Some(master) => Etcd::of_master(&here.root, master, &here.directory),
        None => match member.client_urls.first() {
            Some(url) => Etcd::at(&here.root, url, &here.directory),
            None => return false,
        },
    };
    match client {
        Ok(client) => client.within(PATIENCE).healthy().await.is_ok(),
        Err(_) => false,
    }
}
