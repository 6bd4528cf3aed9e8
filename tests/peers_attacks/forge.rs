//! Records and frames as docs/protocol.md has them, made by hand: whether they may be said is for others to
//! judge.

use foca::{Header, Member, Message};
use rcgen::{KeyPair, SigningKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use stayput::peers::gossip::Identity;
use stayput::peers::record::Record;
use stayput::peers::statement::{Says, Statement};

use crate::authority::Pair;
use crate::masters::{DOMAIN, master, name};

/// Says where a master is.
pub(crate) fn at(number: usize, version: u64, addresses: &[&str]) -> Statement {
    let addresses = addresses.iter().map(|it| it.parse().unwrap());
    of(number, version, Says::At(addresses.collect()))
}

/// Says anything of a master.
pub(crate) fn of(number: usize, version: u64, says: Says) -> Statement {
    Statement {
        cluster: name(DOMAIN),
        master: master(number),
        version,
        says,
    }
}

/// A statement under a certificate, signed by whichever key.
pub(crate) fn signed(statement: &Statement, shown: &Pair, by: &Pair) -> Record {
    let statement = postcard::to_allocvec(statement).unwrap();
    let key = KeyPair::from_pem(&by.key).unwrap();
    let certificate = CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap();
    Record {
        signature: key.sign(&Record::signed(&statement)).unwrap(),
        certificate: certificate.to_vec(),
        statement,
    }
}

/// The record as bytes, also one that is too long.
pub(crate) fn bytes(record: &Record) -> Vec<u8> {
    postcard::to_allocvec(record).unwrap()
}

/// What peers say to each other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Frame {
    Swim(Vec<u8>),
    Compare {
        me: Identity,
        digest: [u8; 32],
    },
    Summary {
        after: Option<[u8; 32]>,
        to: Option<[u8; 32]>,
        held: Vec<u8>,
    },
    Want(Vec<u8>),
    Records(Vec<u8>),
    Outbid(u64),
}

impl Frame {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap()
    }

    /// Brings records.
    pub(crate) fn records(all: &[&[u8]]) -> Vec<u8> {
        Self::Records(items(all)).encode()
    }

    /// A packet of the membership protocol that tells of members, with records behind it.
    pub(crate) fn packet(
        from: &Identity,
        to: &Identity,
        message: Message<Identity>,
        told: &[Member<Identity>],
        records: &[&[u8]],
    ) -> Vec<u8> {
        let counted = !matches!(message, Message::Broadcast | Message::Announce);
        let header = Header {
            src: from.clone(),
            src_incarnation: 0,
            dst: to.clone(),
            message,
        };
        let mut bytes = postcard::to_allocvec(&header).unwrap();
        if counted {
            bytes.extend(u16::try_from(told.len()).unwrap().to_be_bytes());
        }
        for member in told {
            bytes.extend(postcard::to_allocvec(member).unwrap());
        }
        bytes.extend(items(records));
        Self::Swim(bytes).encode()
    }
}

fn items(all: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in all {
        bytes.extend(u16::try_from(item.len()).unwrap().to_be_bytes());
        bytes.extend(*item);
    }
    bytes
}
