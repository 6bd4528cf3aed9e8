//! Records that a person carries to a node: `stayput export` there, `stayput import` here.
//!
//! A new node knows nobody and has no authority yet. It is given both in one file, and the digest of the
//! authority's key another way, as by `kubeadm join`: so nothing in the file has to be believed.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::control::message::{base64, unbase64};
use super::ledger::Ledger;
use super::ledger::summary::ENTRIES;
use super::record::{LIMIT, Record};
use crate::name::Name;
use crate::pki::certificate::Certificate;

/// What the file says that it is.
pub const FORMAT: &str = "stayput export 1";
/// The largest file: a full ledger in base64, with room for names and an authority.
pub const SIZE: u64 = (ENTRIES * (LIMIT * 4 / 3 + 16) + (1 << 20)) as u64;

/// What is carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// [`FORMAT`].
    pub format: String,
    /// The cluster's domain.
    pub cluster: Name,
    /// The digests of the authorities' keys, as kubeadm writes them; for people, nothing depends on them.
    pub ca_hashes: Vec<String>,
    /// The cluster's authorities, PEM.
    pub authority: String,
    /// All records, each in base64.
    pub records: Vec<String>,
}

/// Why a file cannot be used. Nothing was taken from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no such file.
    #[error("this is not what `stayput export` prints: {0}")]
    Malformed(String),
    /// It is of another cluster.
    #[error("this is of the cluster {said}, and the cluster file says {own}")]
    Cluster {
        /// Its cluster.
        said: Name,
        /// This node's.
        own: Name,
    },
    /// Its authority is another than the one that was named.
    #[error(
        "none of the authorities inside has the digest {wanted}: they have {found}; compare it with what `stayput export` or `kubeadm token create --print-join-command` says on a master"
    )]
    Hash {
        /// What was given.
        wanted: String,
        /// What is inside.
        found: String,
    },
    /// This node belongs to another authority.
    #[error(
        "the authority of this node has the digest {own}, and not {wanted}: this node belongs to another cluster, or its authority has changed"
    )]
    Authority {
        /// What was given.
        wanted: String,
        /// What this node has.
        own: String,
    },
    /// A text that is no digest.
    #[error("'{0}' is no digest; one is sha256: and 64 hexadecimal digits")]
    NoHash(String),
}

/// A digest of an authority's key: `sha256:` and 64 hexadecimal digits over its `SubjectPublicKeyInfo`, as
/// kubeadm's `--discovery-token-ca-cert-hash` (RFC 7469, 2.4, in hexadecimal).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(String);

impl Hash {
    /// Of a certificate.
    pub fn of(certificate: &Certificate) -> Self {
        let digest = Sha256::digest(&certificate.public_key);
        let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{}", digits.concat()))
    }

    /// Reads one, in letters of either case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.trim_ascii().to_ascii_lowercase();
        let hex = lower.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(lower));
        }
        Err(Error::NoHash(text.escape_debug().to_string()))
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Export {
    /// What a node gives away: its cluster's authorities and all records.
    pub fn of(cluster: &Name, authorities: &[Certificate], ledger: &Ledger) -> Self {
        let hashes = authorities.iter().map(|one| Hash::of(one).0);
        let pem = authorities.iter().map(Certificate::to_pem);
        let records = ledger.records();
        Self {
            format: FORMAT.to_owned(),
            cluster: cluster.clone(),
            ca_hashes: hashes.collect(),
            authority: pem.collect(),
            records: records.map(|held| base64(held.verified.bytes())).collect(),
        }
    }

    /// Reads a file's bytes, and refuses what is of another cluster.
    pub fn parse(bytes: &[u8], cluster: &Name) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed(reason);
        let read: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if read.format != FORMAT {
            let format = read.format.escape_debug().to_string();
            return Err(malformed(format!(
                "its format is '{format}', not '{FORMAT}'"
            )));
        }
        if read.records.len() > ENTRIES {
            let count = read.records.len();
            return Err(malformed(format!(
                "{count} records; at most {ENTRIES} are read"
            )));
        }
        if read.cluster != *cluster {
            return Err(Error::Cluster {
                said: read.cluster,
                own: cluster.clone(),
            });
        }
        Ok(read)
    }

    /// The authority inside whose key has the digest; the others are not looked at.
    pub fn authority(&self, wanted: &Hash) -> Result<Certificate, Error> {
        let all = Certificate::parse_pem(self.authority.as_bytes());
        let all = all.map_err(|error| Error::Malformed(format!("its authority {error}")))?;
        let found: Vec<String> = all.iter().map(|one| Hash::of(one).0).collect();
        let pinned = all.into_iter().find(|one| Hash::of(one) == *wanted);
        pinned.ok_or_else(|| Error::Hash {
            wanted: wanted.0.clone(),
            found: found.join(", "),
        })
    }

    /// The records inside, each readable or not; nothing is verified.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, String>> {
        self.records.iter().map(|text| {
            let bytes = unbase64(text).ok_or("it is no base64")?;
            Record::decode(&bytes).map_err(|error| error.to_string())
        })
    }
}

/// Refuses a digest that no authority of this node has.
pub fn check_own(own: &[Certificate], wanted: &Hash) -> Result<(), Error> {
    let own: Vec<Hash> = own.iter().map(Hash::of).collect();
    if own.contains(wanted) {
        return Ok(());
    }
    let own: Vec<&str> = own.iter().map(Hash::as_str).collect();
    Err(Error::Authority {
        wanted: wanted.0.clone(),
        own: own.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::sample::{at, authority, name, pair};

    #[test]
    fn what_is_exported_is_read_again_under_its_digest_only() {
        let (ca, other) = (authority("kubernetes"), authority("kubernetes"));
        let mut ledger = Ledger::default();
        let said = pair(&ca, "m1").verified(&ca, &at("m1", 7, "10.0.0.1"));
        ledger.offer(said.clone(), 1);
        let both = [ca.certificate.clone(), other.certificate.clone()];
        let domain = name("k8s.internal");
        let export = Export::of(&domain, &both, &ledger);
        let bytes = serde_json::to_vec(&export).unwrap();
        let read = Export::parse(&bytes, &domain).unwrap();
        assert_eq!(read, export);
        for one in &both {
            let hash = Hash::parse(&Hash::of(one).0.to_uppercase().replace("SHA", "sha")).unwrap();
            assert_eq!(read.authority(&hash).unwrap().der, one.der);
            check_own(&both, &hash).unwrap();
        }
        let third = Hash::of(&authority("kubernetes").certificate);
        assert!(matches!(read.authority(&third), Err(Error::Hash { .. })));
        assert!(matches!(
            check_own(&both, &third),
            Err(Error::Authority { .. })
        ));
        let records: Vec<_> = read.records().collect();
        assert_eq!(records, [Ok(said.record().clone())]);
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let ca = authority("kubernetes");
        let domain = name("k8s.internal");
        let good = Export::of(&domain, &[ca.certificate], &Ledger::default());
        let parse = |export: &Export| Export::parse(&serde_json::to_vec(export).unwrap(), &domain);
        let mut other = good.clone();
        other.format = "stayput export 2".into();
        assert!(matches!(parse(&other), Err(Error::Malformed(_))));
        let mut other = good.clone();
        other.cluster = name("elsewhere.internal");
        assert!(matches!(parse(&other), Err(Error::Cluster { .. })));
        let mut other = good.clone();
        other.records = vec![String::new(); ENTRIES + 1];
        assert!(matches!(parse(&other), Err(Error::Malformed(_))));
        assert!(matches!(
            Export::parse(b"apiVersion: v1", &domain),
            Err(Error::Malformed(_))
        ));
        let mut other = good;
        other.records = ["", "%", "AA=="].map(str::to_owned).to_vec();
        assert!(other.records().all(|one| one.is_err()));
        for bad in ["", "sha256:", "sha256:00", &"a".repeat(64), "sha1:00"] {
            assert!(matches!(Hash::parse(bad), Err(Error::NoHash(_))), "{bad}");
        }
    }
}
