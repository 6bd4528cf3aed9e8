//! What comes in: frames, datagrams, commands, the agent's book, and where this node is.

use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use super::agent::News;
use super::command::{Command, Verdict};
use super::life::{After, Daemon};
use super::{multicast, names};
use crate::peers::gossip::{self, ADDRESSES, Input};
use crate::peers::record::{Digest, Record};
use crate::peers::statement::{Says, Statement};
use crate::peers::transport::{Incoming, Peer};
use crate::source::interface::{self, Snapshot};

impl Daemon {
    pub(super) fn received(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Frame { peer, bytes, .. } => {
                let Some(from) = names::who(&peer) else {
                    return;
                };
                self.heard = Some(Instant::now());
                if let Some(digest) = gossip::digest(&bytes) {
                    self.others.told(&from, Digest(digest), Instant::now());
                }
                self.gossip(Input::Frame {
                    from: &from,
                    bytes: &bytes,
                });
                self.look_whether_whole(&bytes);
            }
            Incoming::Pull { answer, .. } => answer.send(super::pull::answer(&self.records)),
        }
    }

    /// A datagram of multicast: a record, or nothing.
    pub(super) fn overheard(&mut self, bytes: &[u8], from: SocketAddr) {
        self.counts.multicast_heard += 1;
        let verdict = self.records.take(bytes);
        if let Verdict::Refused(why) = &verdict {
            self.refused_on_link(&from.ip().to_canonical().to_string(), why);
        }
        let of_interest = match verdict {
            Verdict::News => true,
            Verdict::Known => self.is_lonely(),
            Verdict::Outdone | Verdict::Refused(_) => false,
        };
        let says = Record::decode(bytes).ok();
        let says = says.and_then(|it| Statement::decode(&it.statement, self.root.loopback()).ok());
        if let Some(statement) = says.filter(|_| of_interest)
            && let Says::At(addresses) = statement.says
        {
            self.spread_masters();
            let at = addresses.into_iter().map(|ip| self.listening(ip));
            self.greet(Peer::Master(statement.master), at.collect());
        }
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Offer { records, reply } => {
                let verdicts: Vec<Verdict> = records
                    .iter()
                    .map(|record| {
                        let verdict = self.records.take(record);
                        if verdict == Verdict::News {
                            self.disk.after_saving(After::Tell(record.clone()));
                        }
                        verdict
                    })
                    .collect();
                self.disk.after_saving(After::Answer(reply, verdicts));
            }
            // Who asked may have gone.
            Command::Look(reply) => drop(reply.send(self.picture())),
        }
    }

    pub(super) fn agent_says(&mut self, news: News) {
        match news {
            News::Book(book) => {
                if !std::mem::replace(&mut self.agent, true) {
                    tracing::info!("following the agent");
                    self.link.again();
                }
                let own = book.own.as_ref().map(|own| own.place.addresses.clone());
                self.book = Some(book);
                self.spread_masters();
                self.tell_agent();
                // It may be about to hear of what the interfaces have said already.
                if let Some(own) = own.filter(|_| self.interfaces.is_none()) {
                    self.is_at(own);
                }
                self.speak();
            }
            News::Gone => self.agent = false,
        }
    }

    /// The node's interfaces have changed.
    pub(super) fn looked(&mut self, snapshot: &Snapshot) {
        if self.cluster.peers.multicast {
            self.multicast.join(multicast::links(snapshot));
        }
        let master = self.node.master().and_then(|own| self.cluster.master(own));
        let kept = master.into_iter();
        let kept: Vec<_> = kept
            .flat_map(|master| self.cluster.routes.kept(master))
            .collect();
        let snapshot = snapshot.without_kept(&kept);
        self.is_at(interface::select(
            &snapshot,
            &self.node.selection,
            &self.here,
        ));
    }

    /// Where this node is now. Old connections lead nowhere.
    pub(super) fn is_at(&mut self, addresses: Vec<IpAddr>) {
        let differs = addresses.iter().any(|address| !self.here.contains(address));
        if addresses.is_empty() || !differs && addresses.len() == self.here.len() {
            return;
        }
        let first = std::mem::replace(&mut self.here, addresses).is_empty();
        if first {
            return self.gossip(Input::Moved(self.own_sockets()));
        }
        tracing::info!("this node is at {} now", shown(&self.here));
        self.handle.moved_itself();
        self.heard = None;
        self.turn.begin();
        self.gossip(Input::Moved(self.own_sockets()));
        self.voice.show_for_a_while();
        self.show();
    }

    pub(super) fn own_sockets(&self) -> Vec<SocketAddr> {
        let own = self.here.iter().take(ADDRESSES);
        own.map(|ip| self.listening(*ip)).collect()
    }

    /// Where a node of this address listens.
    pub(super) fn listening(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.cluster.peers.port)
    }
}

/// Addresses, for the log.
pub(super) fn shown(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        return "no known address".to_owned();
    }
    texts.join(" ")
}
