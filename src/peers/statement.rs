//! What is said of a master, and how it is written as bytes.
//!
//! The encoding is postcard's (its wire format is stable and documented); `docs/protocol.md` has it byte
//! by byte. A statement is decoded whole or not at all, and whatever it is decoded from is bounded. There
//! is one encoding of each: bytes that would be written otherwise are refused.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::address::{self, AddressError, Loopback};
use crate::name::Name;

/// The addresses in one statement: at least one, at most these.
pub const ADDRESSES: usize = 16;
/// The longest statement, in bytes. Two names of 253 and all addresses take under 800.
pub const LIMIT: usize = 1 << 10;

/// What a master says, of itself or of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    /// The cluster's domain.
    pub cluster: Name,
    /// The master that is spoken of, fully qualified.
    pub master: Name,
    /// The larger of the last one plus one and Unix time in seconds.
    pub version: u64,
    /// What is said of it.
    pub says: Says,
}

/// What can be said of a master.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Says {
    /// It is there. Only its own word counts.
    At(#[serde(deserialize_with = "few")] Vec<IpAddr>),
    /// It is a master no more, whatever it says itself.
    Removed,
    /// A new machine has its name: a word under a certificate that begins before this moment (Unix time in
    /// seconds) counts no more.
    Replaced {
        /// The moment.
        not_before: i64,
    },
}

/// Why bytes are no statement, or a statement cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many bytes.
    #[error("the statement has {0} bytes; at most {LIMIT} are read")]
    TooLong(usize),
    /// Not this encoding.
    #[error("the statement cannot be read: {0}")]
    Malformed(postcard::Error),
    /// More bytes behind it.
    #[error("there are {0} bytes behind the statement")]
    Trailing(usize),
    /// The same statement is written otherwise: upper case in a name, a number with empty digits.
    #[error("the statement is not written in its one form")]
    NotCanonical,
    /// None, or too many.
    #[error("the statement has {0} addresses; 1 to {ADDRESSES} are taken")]
    Addresses(usize),
    /// Twice the same.
    #[error("the statement has the address {0} twice")]
    Repeated(IpAddr),
    /// IPv6 around an IPv4 address.
    #[error("the statement's address {0} is an IPv4 address in IPv6's clothes")]
    Mapped(IpAddr),
    /// None that a master can have.
    #[error("the statement's address cannot be a master's: {0}")]
    Address(#[from] AddressError),
    /// A name outside of the cluster.
    #[error("the statement speaks of {master}, which is not below the cluster's domain {cluster}")]
    Outside {
        /// The master.
        master: Name,
        /// The domain.
        cluster: Name,
    },
}

impl Statement {
    /// The statement as bytes, if it may be said at all. `loopback`: as on this node
    /// ([`Root::loopback`](crate::root::Root::loopback)).
    pub fn encode(&self, loopback: Loopback) -> Result<Vec<u8>, Error> {
        self.check(loopback)?;
        let bytes = postcard::to_allocvec(self).map_err(Error::Malformed)?;
        if bytes.len() > LIMIT {
            return Err(Error::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads a statement: all of the bytes, by every rule that [`encode`](Self::encode) keeps.
    pub fn decode(bytes: &[u8], loopback: Loopback) -> Result<Self, Error> {
        if bytes.len() > LIMIT {
            return Err(Error::TooLong(bytes.len()));
        }
        let (statement, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(Error::Malformed)?;
        if !rest.is_empty() {
            return Err(Error::Trailing(rest.len()));
        }
        if statement.encode(loopback)? != bytes {
            return Err(Error::NotCanonical);
        }
        Ok(statement)
    }

    fn check(&self, loopback: Loopback) -> Result<(), Error> {
        if !self.master.is_below(&self.cluster) {
            return Err(Error::Outside {
                master: self.master.clone(),
                cluster: self.cluster.clone(),
            });
        }
        match &self.says {
            Says::At(addresses) => check_addresses(addresses, loopback),
            Says::Removed | Says::Replaced { .. } => Ok(()),
        }
    }
}

fn check_addresses(addresses: &[IpAddr], loopback: Loopback) -> Result<(), Error> {
    if !(1..=ADDRESSES).contains(&addresses.len()) {
        return Err(Error::Addresses(addresses.len()));
    }
    let mut seen = HashSet::new();
    for address in addresses {
        if address::usable(*address, loopback)? != *address {
            return Err(Error::Mapped(*address));
        }
        if !seen.insert(address) {
            return Err(Error::Repeated(*address));
        }
    }
    Ok(())
}

/// A list that says at its beginning that it is too long is not begun.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<IpAddr>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {ADDRESSES} addresses")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            if let Some(count) = list.size_hint().filter(|count| *count > ADDRESSES) {
                return Err(A::Error::invalid_length(count, &self));
            }
            while let Some(address) = list.next_element()? {
                if addresses.len() == ADDRESSES {
                    return Err(A::Error::invalid_length(ADDRESSES + 1, &self));
                }
                addresses.push(address);
            }
            Ok(addresses)
        }
    }
    deserializer.deserialize_seq(Few)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn at(addresses: &[&str]) -> Statement {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Statement {
            cluster: name("k8s.internal"),
            master: name("m1.k8s.internal"),
            version: 300,
            says: Says::At(addresses),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Statement, Error> {
        Statement::decode(bytes, Loopback::Refused)
    }

    /// The bytes of docs/protocol.md, written by hand.
    fn by_hand(version: &[u8], says: &[u8]) -> Vec<u8> {
        let names: &[u8] = b"\x0ck8s.internal\x0fm1.k8s.internal";
        [names, version, says].concat()
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let two = at(&["10.77.0.11", "fd77::11"]);
        let mut says = vec![0, 2, 0, 10, 77, 0, 11, 1, 0xfd, 0x77];
        says.extend([0; 13]);
        says.push(0x11);
        let bytes = by_hand(&[0xac, 0x02], &says);
        assert_eq!(two.encode(Loopback::Refused).unwrap(), bytes);
        assert_eq!(decode(&bytes), Ok(two.clone()));
        for (says, bytes) in [
            (Says::Removed, &[1][..]),
            (Says::Replaced { not_before: 0 }, &[2, 0]),
            (Says::Replaced { not_before: -2 }, &[2, 3]),
            (Says::Replaced { not_before: 100 }, &[2, 0xc8, 0x01]),
        ] {
            let statement = Statement {
                says,
                ..two.clone()
            };
            let bytes = by_hand(&[0xac, 0x02], bytes);
            assert_eq!(statement.encode(Loopback::Refused).unwrap(), bytes);
            assert_eq!(decode(&bytes), Ok(statement));
        }
    }

    #[test]
    fn what_is_not_whole_and_canonical_is_refused() {
        let good = by_hand(&[7], &[0, 1, 0, 10, 77, 0, 11]);
        assert!(decode(&good).is_ok());
        for cut in 0..good.len() {
            assert!(decode(&good[..cut]).is_err(), "{cut}");
        }
        let lists = |count: &[u8], rest: usize| {
            let says = [&[0], count, &vec![0; rest]].concat();
            by_hand(&[7], &says)
        };
        // 10,000 addresses do not fit; neither does a count that says so.
        let many = lists(&[0x90, 0x4e], 50_000);
        assert_eq!(decode(&many), Err(Error::TooLong(many.len())));
        for (bytes, want) in [
            ([&good[..], &[0]].concat(), "1 bytes behind"),
            (by_hand(&[0x87, 0x00], &good[30..]), "one form"),
            (lists(&[0], 0), "has 0 addresses"),
            (lists(&[17], 100), "cannot be read"),
            (lists(&[0x90, 0x4e], 500), "cannot be read"),
            (
                lists(
                    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                    500,
                ),
                "cannot be read",
            ),
            (by_hand(&[7], &[3]), "cannot be read"),
            (Vec::new(), "cannot be read"),
            (b"\xff\xff\xff\xff\x0fabc".to_vec(), "cannot be read"),
            (
                b"\x0ck8s.Internal\x0fm1.k8s.internal\x07\x01".to_vec(),
                "one form",
            ),
            (
                b"\x0dk8s.internal.\x0fm1.k8s.internal\x07\x01".to_vec(),
                "one form",
            ),
            (
                b"\x0ck8s.internal\x0fm1.xxx.internal\x07\x01".to_vec(),
                "not below",
            ),
            (
                b"\x0ck8s.internal\x0ck8s.internal\x07\x01".to_vec(),
                "not below",
            ),
            (
                b"\x0ck8s.internal\x0f*..k8s.internal\x07\x01".to_vec(),
                "cannot be read",
            ),
        ] {
            let error = decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(want), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn addresses_are_such_as_masters_have() {
        let seventeen: Vec<String> = (1..=17).map(|n| format!("10.0.0.{n}")).collect();
        let seventeen: Vec<&str> = seventeen.iter().map(String::as_str).collect();
        assert!(at(&seventeen[1..]).encode(Loopback::Refused).is_ok());
        for (addresses, want) in [
            (&seventeen[..], "17 addresses"),
            (&[], "0 addresses"),
            (&["10.0.0.1", "10.0.0.1"], "twice"),
            (&["::ffff:10.0.0.1"], "IPv4 address in IPv6"),
            (&["0.0.0.0"], "unspecified"),
            (&["::"], "unspecified"),
            (&["224.0.0.1"], "multicast"),
            (&["ff02::1"], "multicast"),
            (&["127.0.0.1"], "loopback"),
            (&["::1"], "loopback"),
            (&["255.255.255.255"], "broadcast"),
            (&["169.254.7.7"], "link-local"),
            (&["fe80::1"], "link-local"),
        ] {
            let statement = at(addresses);
            let error = statement.encode(Loopback::Refused).unwrap_err();
            assert!(error.to_string().contains(want), "{addresses:?}: {error}");
            // Who writes it all the same is not read.
            let bytes = postcard::to_allocvec(&statement).unwrap();
            assert!(decode(&bytes).is_err(), "{addresses:?}");
        }
        // A sandbox's masters are pretend ones.
        let sandbox = at(&["127.77.0.11"]);
        let bytes = sandbox.encode(Loopback::Allowed).unwrap();
        assert_eq!(Statement::decode(&bytes, Loopback::Allowed), Ok(sandbox));
        assert!(decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(
            noise in prop::collection::vec(any::<u8>(), 0..120),
            version in any::<u64>(),
        ) {
            let mut version = postcard::to_allocvec(&version).unwrap();
            version.truncate(10);
            for bytes in [noise.clone(), by_hand(&version, &noise)] {
                if let Ok(statement) = decode(&bytes) {
                    prop_assert_eq!(statement.encode(Loopback::Refused).unwrap(), bytes);
                }
            }
        }
    }
}
