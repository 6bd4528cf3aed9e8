//! Two ledgers that differ are made equal: each side's digests in pages, and only what is missing.
//!
//! A page tells what its sender holds between two digests. It stands for itself, so a lost one costs
//! nothing but the next round.

use super::ledger::Digest;
use super::wire::{DIGESTS, Digests, Frame};

/// All that a node holds, as pages; an empty ledger is one page without digests.
pub(super) fn pages(held: &[Digest]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<&[Digest]> = held.chunks(DIGESTS).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    let mut after = None;
    let mut pages = Vec::new();
    for (place, chunk) in chunks.into_iter().enumerate() {
        let to = chunk.last().copied().filter(|_| place < last);
        let page = Frame::Summary {
            after,
            to,
            held: Digests::over(chunk.as_flattened()),
        };
        pages.push(page.encode());
        after = to;
    }
    pages
}

/// What two ledgers lack of each other, by one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// They have it, we do not.
    pub(super) wanted: Vec<Digest>,
    /// We have it, they do not.
    pub(super) missed: Vec<Digest>,
}

/// Compares a page with what is held here (ascending).
pub(super) fn compare(
    after: Option<Digest>,
    to: Option<Digest>,
    theirs: impl Iterator<Item = Digest>,
    ours: &[Digest],
) -> Difference {
    let mut theirs: Vec<Digest> = theirs.collect();
    theirs.sort_unstable();
    theirs.dedup();
    let within = |digest: &&Digest| {
        after.is_none_or(|after| **digest > after) && to.is_none_or(|to| **digest <= to)
    };
    let wanted = theirs
        .iter()
        .filter(|digest| ours.binary_search(digest).is_err());
    let missed = ours
        .iter()
        .filter(within)
        .filter(|digest| theirs.binary_search(digest).is_err());
    Difference {
        wanted: wanted.copied().collect(),
        missed: missed.copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peers::gossip::wire::FRAME;

    fn ledger(numbers: &[u16]) -> Vec<Digest> {
        let mut digests: Vec<Digest> = numbers
            .iter()
            .map(|number| {
                let mut digest = [0; 32];
                digest[..2].copy_from_slice(&number.to_be_bytes());
                digest
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The pages of one side find exactly what differs, each in a frame that may travel.
        #[test]
        fn pages_find_what_differs(
            ours in prop::collection::vec(any::<u16>(), 0..2000),
            theirs in prop::collection::vec(any::<u16>(), 0..2000),
        ) {
            let (ours, theirs) = (ledger(&ours), ledger(&theirs));
            let mut found = Difference::default();
            for page in pages(&theirs) {
                prop_assert!(page.len() <= FRAME);
                let Ok(Frame::Summary { after, to, held }) = Frame::decode(&page) else {
                    return Err(TestCaseError::fail("a page is a summary"));
                };
                let Difference { wanted, missed } = compare(after, to, held.iter(), &ours);
                found.wanted.extend(wanted);
                found.missed.extend(missed);
            }
            let only = |one: &[Digest], other: &[Digest]| -> Vec<Digest> {
                let lacks = |digest: &&Digest| !other.contains(digest);
                one.iter().filter(lacks).copied().collect()
            };
            prop_assert_eq!(found.wanted, only(&theirs, &ours));
            prop_assert_eq!(found.missed, only(&ours, &theirs));
        }
    }
}
