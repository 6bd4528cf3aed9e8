//! Whom to dial while nobody answers: masters before others, a few at a time, and everybody in turn.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Addresses of masters that are dialled at a time, and as many of others.
const EACH: usize = 4;

/// Where somebody may be, in the order in which they are tried; no address twice, and not this node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) masters: Vec<SocketAddr>,
    pub(super) others: Vec<SocketAddr>,
}

impl Places {
    /// Of all that is known: masters by their records, the book and where they were last met; seeds and
    /// other nodes.
    pub(super) fn new(
        masters: impl IntoIterator<Item = SocketAddr>,
        others: impl IntoIterator<Item = SocketAddr>,
        own: &[SocketAddr],
    ) -> Self {
        let mut seen: BTreeSet<SocketAddr> = own.iter().copied().collect();
        let mut distinct = |all: &mut dyn Iterator<Item = SocketAddr>| -> Vec<SocketAddr> {
            all.filter(|at| seen.insert(*at)).collect()
        };
        Self {
            masters: distinct(&mut masters.into_iter()),
            others: distinct(&mut others.into_iter()),
        }
    }
}

/// How far one has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    masters: usize,
    others: usize,
}

impl Turn {
    /// The next ones; after the last it begins anew.
    pub(super) fn next(&mut self, places: &Places) -> Vec<SocketAddr> {
        let mut next = some(&places.masters, &mut self.masters);
        next.extend(some(&places.others, &mut self.others));
        next
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
        let places = Places::new((1..=6).map(at), [at(6), at(7), at(9)], &[at(2)]);
        assert_eq!(places.masters, [1, 3, 4, 5, 6].map(at));
        assert_eq!(places.others, [7, 9].map(at));
        let mut turn = Turn::default();
        assert_eq!(turn.next(&places), [1, 3, 4, 5, 7, 9].map(at));
        assert_eq!(turn.next(&places), [6, 7, 9].map(at));
        assert_eq!(turn.next(&places), [1, 3, 4, 5, 7, 9].map(at));
        turn.begin();
        assert_eq!(turn.next(&places), [1, 3, 4, 5, 7, 9].map(at));
        assert_eq!(turn.next(&Places::default()), []);
    }

    #[test]
    fn few_at_a_time() {
        let places = Places::new((1..=200).map(at), [], &[]);
        let mut turn = Turn::default();
        let mut dialled = BTreeSet::new();
        for _ in 0..50 {
            let next = turn.next(&places);
            assert!(next.len() <= 2 * EACH);
            dialled.extend(next);
        }
        assert_eq!(dialled.len(), 200);
    }
}
