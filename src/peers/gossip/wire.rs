//! What travels between two peers: one frame, whole or not at all.
//!
//! The encoding is postcard's. Lists are byte strings that are cut up in place, so that no count in a
//! frame leads to an allocation.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ledger::Digest;

/// The largest frame in bytes.
pub const FRAME: usize = 16 << 10;
/// The largest membership packet in bytes: a record of 4 KiB fits beside two identities and updates.
pub(super) const PACKET: usize = 8 << 10;
/// How many digests one frame holds: half of it, so that the rest always fits.
pub(super) const DIGESTS: usize = FRAME / 2 / size_of::<Digest>();

/// One message from peer to peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame<'a> {
    /// A packet of the membership protocol, with records behind it.
    Swim(&'a [u8]),
    /// Who I am, and the digest of all that I hold. Is yours the same?
    Compare { me: Identity, digest: Digest },
    /// What I hold from `after` (exclusive) to `to` (inclusive), in ascending order.
    Summary {
        after: Option<Digest>,
        to: Option<Digest>,
        held: Digests<'a>,
    },
    /// Give me these.
    Want(Digests<'a>),
    /// Here they are.
    Records(Items<'a>),
    /// Others have heard of you in this generation: go above it.
    Outbid(u64),
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`FRAME`] bytes.
    #[error("a frame above {FRAME} bytes")]
    TooLong,
    /// It cannot be decoded.
    #[error("not a frame of this protocol")]
    NotAFrame,
    /// Something follows the end.
    #[error("bytes behind the end of a frame")]
    Trailing,
}

impl<'a> Frame<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > FRAME {
            return Err(Malformed::TooLong);
        }
        let (frame, rest) = postcard::take_from_bytes(bytes).map_err(|_| Malformed::NotAFrame)?;
        if rest.is_empty() {
            Ok(frame)
        } else {
            Err(Malformed::Trailing)
        }
    }

    /// The frame's bytes. Empty only if encoding to memory failed, which postcard does for no type here.
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// Digests, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digests<'a>(#[serde(borrow)] &'a [u8]);

impl<'a> Digests<'a> {
    /// Over bytes that [`concat`](slice::concat) made of digests.
    pub(super) fn over(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Digest> + use<'a> {
        self.0.as_chunks().0.iter().copied()
    }
}

/// Records, each behind its length in two bytes, big end first (as foca writes them too).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Items<'a>(#[serde(borrow)] &'a [u8]);

impl<'a> Items<'a> {
    pub(super) fn over(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Appends a record; one above 64 KiB is none and left out.
    pub(super) fn push(bytes: &mut Vec<u8>, record: &[u8]) {
        if let Ok(length) = u16::try_from(record.len()) {
            bytes.extend(length.to_be_bytes());
            bytes.extend(record);
        }
    }

    /// The records up to the first that is not whole.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (item, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            Some(item)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::gossip::identity::{NodeName, Who};

    #[test]
    fn every_frame_survives_its_encoding() {
        let who = Who::Worker(NodeName::parse("worker-1").unwrap());
        let me = Identity::new(who, 7, vec!["10.0.0.1:8442".parse().unwrap()]).unwrap();
        let digests = [[1; 32], [2; 32]].concat();
        let mut items = Vec::new();
        Items::push(&mut items, b"one");
        Items::push(&mut items, b"");
        Items::push(&mut items, &[3; 4096]);
        let digest = [9; 32];
        for frame in [
            Frame::Swim(b"packet"),
            Frame::Compare { me, digest },
            Frame::Summary {
                after: None,
                to: Some([2; 32]),
                held: Digests::over(&digests),
            },
            Frame::Want(Digests::over(&digests)),
            Frame::Records(Items::over(&items)),
            Frame::Outbid(u64::MAX),
        ] {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Ok(frame));
            assert_eq!(
                Frame::decode(&[&bytes[..], b"."].concat()),
                Err(Malformed::Trailing)
            );
            assert_eq!(
                Frame::decode(&bytes[..bytes.len() - 1]),
                Err(Malformed::NotAFrame)
            );
        }
        let lengths: Vec<usize> = Items::over(&items).iter().map(<[u8]>::len).collect();
        assert_eq!(lengths, [3, 0, 4096]);
        assert_eq!(
            Digests::over(&digests).iter().collect::<Vec<_>>(),
            [[1; 32], [2; 32]]
        );
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        let mut items = Vec::new();
        Items::push(&mut items, b"whole");
        Items::push(&mut items, b"cut off");
        items.pop();
        let found: Vec<&[u8]> = Items::over(&items).iter().collect();
        assert_eq!(found, [b"whole"]);
        assert_eq!(Frame::decode(&vec![0; FRAME + 1]), Err(Malformed::TooLong));
    }
}
