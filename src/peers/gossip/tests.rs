//! Whole clusters in virtual time; and nodes against a member that lies.

use std::time::Duration;

use foca::{Header, Member, Message};

use super::wire::{Frame, Items};
use super::{Gossip, Identity};
use world::World;
use world::ledger::Toy;

mod clusters;
mod garbage;
mod liars;

#[path = "../../../tests/gossip/mod.rs"]
mod world;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many nodes that have settled.
fn settled(nodes: usize, seed: u64) -> World {
    let mut world = World::new(nodes, 3, seed);
    world.pass(seconds(20));
    world
}

/// A packet that a member makes up.
fn packet(
    from: &Identity,
    to: &Identity,
    message: Message<Identity>,
    told: &[Member<Identity>],
    records: &[&[u8]],
) -> Vec<u8> {
    let plain = message != Message::Broadcast && message != Message::Announce;
    let header = Header {
        src: from.clone(),
        src_incarnation: 0,
        dst: to.clone(),
        message,
    };
    let mut bytes = postcard::to_allocvec(&header).unwrap();
    if plain {
        bytes.extend(u16::try_from(told.len()).unwrap().to_be_bytes());
    }
    for member in told {
        bytes.extend(postcard::to_allocvec(member).unwrap());
    }
    for record in records {
        Items::push(&mut bytes, record);
    }
    Frame::Swim(&bytes).encode()
}

fn gossip(from: &Identity, to: &Identity, told: &[Member<Identity>]) -> Vec<u8> {
    packet(from, to, Message::Gossip, told, &[])
}

fn invented(number: usize, generation: u64) -> Identity {
    let address = "192.0.2.1:8442".parse().unwrap();
    Identity::new(world::who(number + 100_000, 0), generation, vec![address]).unwrap()
}

fn identity(world: &World, number: usize) -> Identity {
    world.nodes[number].gossip.identity().clone()
}

fn total(gossip: &Gossip<Toy>) -> usize {
    gossip.foca.iter_membership_state().len()
}
