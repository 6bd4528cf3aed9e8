//! A ledger without signatures: of each master the record with the highest version.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::Digest as _;
use stayput::peers::gossip::{Digest, Ledger, RECORD, Stamp, Verdict, Who};

/// As large as a signed record with its certificate.
const SIZE: usize = 1100;

/// Records by the number of their master.
#[derive(Debug, Clone, Default)]
pub(crate) struct Toy {
    records: BTreeMap<u32, (u64, Vec<u8>, Digest)>,
    digest: Digest,
    /// How many were looked at closely: what a real ledger verifies.
    pub(crate) judged: usize,
}

/// A record that says where a master is.
pub(crate) fn record(master: u32, version: u64, at: SocketAddr) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(&(master, version, at)).unwrap();
    bytes.resize(SIZE, 0);
    bytes
}

fn read(record: &[u8]) -> Option<(u32, u64, SocketAddr)> {
    let known = record.len() == SIZE;
    known.then(|| postcard::from_bytes(record).ok()).flatten()
}

fn sha256(bytes: &[u8]) -> Digest {
    sha2::Sha256::digest(bytes).into()
}

impl Toy {
    /// The version that is held of a master's record.
    pub(crate) fn version(&self, master: u32) -> u64 {
        self.records
            .get(&master)
            .map_or(0, |(version, ..)| *version)
    }

    /// Where the masters are, by number.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, SocketAddr)> {
        let records = self.records.values();
        records.filter_map(|(_, record, _)| read(record).map(|(master, _, at)| (master, at)))
    }
}

impl Ledger for Toy {
    fn offer(&mut self, record: &[u8], _: &Who) -> Verdict {
        let Some((master, version, _)) = read(record) else {
            self.judged += 1;
            return Verdict::Refused("not a record".to_owned());
        };
        match self.records.get(&master) {
            Some((_, held, _)) if held == record => return Verdict::Known,
            Some((held, bytes, _)) if (*held, bytes.as_slice()) > (version, record) => {
                return Verdict::Outdone;
            }
            _ => {}
        }
        self.judged += 1;
        assert!(record.len() <= RECORD);
        self.records
            .insert(master, (version, record.to_vec(), sha256(record)));
        self.digest = sha256(self.held().as_flattened());
        Verdict::News
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn held(&self) -> Vec<Digest> {
        let records = self.records.values();
        let mut held: Vec<Digest> = records.map(|(.., digest)| *digest).collect();
        held.sort_unstable();
        held
    }

    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut records = self.records.values();
        let found = records.find(|(.., held)| held == digest);
        found.map(|(_, record, _)| record.clone())
    }

    fn stamp(record: &[u8]) -> Option<Stamp> {
        let (master, version, _) = read(record)?;
        let key = master.to_be_bytes().to_vec();
        Some(Stamp { key, version })
    }
}
