//! Whom to dial while nobody answers: of each kind a few at a time, and everybody in turn.
//!
//! Kinds have turns of their own, by how far each can be trusted: whoever invents nodes delays those that
//! were told of, and neither seeds nor masters nor anybody who was met.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Addresses of one kind that are dialled at a time.
const EACH: usize = 4;
/// Kinds.
const KINDS: usize = 4;

/// Where somebody may be, in the order in which they are tried; no address twice, and not this node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places([Vec<SocketAddr>; KINDS]);

/// What is known, with repeats.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Masters by their records and the book, and where they were last met.
    pub(super) masters: Vec<SocketAddr>,
    /// Those that the cluster file names.
    pub(super) seeds: Vec<SocketAddr>,
    /// Other nodes that finished a handshake.
    pub(super) met: Vec<SocketAddr>,
    /// Whatever members say of each other, and of themselves.
    pub(super) told: Vec<SocketAddr>,
}

impl Places {
    /// Of all that is known.
    pub(super) fn new(sources: Sources, own: &[SocketAddr]) -> Self {
        let mut seen: BTreeSet<SocketAddr> = own.iter().copied().collect();
        let Sources {
            masters,
            seeds,
            met,
            told,
        } = sources;
        Self([masters, seeds, met, told].map(|mut all| {
            all.retain(|at| seen.insert(*at));
            all
        }))
    }
}

/// How far one has come with each kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn([usize; KINDS]);

impl Turn {
    /// The next ones of each kind, none of them empty; after the last of a kind it begins anew.
    pub(super) fn next(&mut self, places: &Places) -> Vec<Vec<SocketAddr>> {
        let kinds = places.0.iter().zip(&mut self.0);
        let next = kinds.map(|(all, turn)| some(all, turn));
        next.filter(|some| !some.is_empty()).collect()
    }

    /// The first ones are the next.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }
}

fn some(all: &[SocketAddr], turn: &mut usize) -> Vec<SocketAddr> {
    let begin = if *turn < all.len() { *turn } else { 0 };
    let end = (begin + EACH).min(all.len());
    *turn = end;
    all.get(begin..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 8442).into()
    }

    #[test]
    fn everybody_has_a_turn_and_masters_come_first() {
        let sources = Sources {
            masters: (1..=6).map(at).collect(),
            seeds: vec![at(6), at(7)],
            told: vec![at(7), at(9), at(1)],
            ..Sources::default()
        };
        let places = Places::new(sources, &[at(2)]);
        let first =
            [vec![1, 3, 4, 5], vec![7], vec![9]].map(|all| all.into_iter().map(at).collect());
        let second = [vec![6], vec![7], vec![9]].map(|all| all.into_iter().map(at).collect());
        let (first, second): ([Vec<_>; 3], [Vec<_>; 3]) = (first, second);
        let mut turn = Turn::default();
        assert_eq!(turn.next(&places), first);
        assert_eq!(turn.next(&places), second);
        assert_eq!(turn.next(&places), first);
        turn.begin();
        assert_eq!(turn.next(&places), first);
        assert_eq!(turn.next(&Places::default()), [] as [Vec<_>; 0]);
    }

    #[test]
    fn invented_nodes_delay_no_others() {
        let invented = (0..=65_000_u16).map(|port| SocketAddr::from(([10, 9, 9, 9], port)));
        let sources = Sources {
            seeds: vec![at(1)],
            met: (2..=9).map(at).collect(),
            told: invented.collect(),
            ..Sources::default()
        };
        let places = Places::new(sources, &[]);
        let mut turn = Turn::default();
        for round in 0..10 {
            let next = turn.next(&places);
            assert!(next.iter().all(|kind| kind.len() <= EACH));
            let next = next.concat();
            assert!(next.contains(&at(1)), "{round}");
            let met = if round % 2 == 0 { 2..=5 } else { 6..=9 };
            assert!(met.map(at).all(|at| next.contains(&at)), "{round}");
        }
    }

    #[test]
    fn few_at_a_time() {
        let masters = (1..=200).map(at).collect();
        let places = Places::new(
            Sources {
                masters,
                ..Sources::default()
            },
            &[],
        );
        let mut turn = Turn::default();
        let mut dialled = BTreeSet::new();
        for _ in 0..50 {
            let next = turn.next(&places).concat();
            assert!(next.len() <= EACH);
            dialled.extend(next);
        }
        assert_eq!(dialled.len(), 200);
    }
}
