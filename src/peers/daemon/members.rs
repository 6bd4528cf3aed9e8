//! Who was known, kept for the next start: whom to ask when everybody else has moved.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file;
use crate::peers::gossip::{Identity, MEMBERS};
use crate::peers::store::FOLDER;
use crate::peers::transport::Contact;
use crate::root::Root;
use crate::state;

/// Where it lies.
pub const PATH: &str = "/var/lib/stayput/peers/members";
/// Far above what 10,000 members and as many contacts need.
const LIMIT: u64 = 32 << 20;

/// Everybody that is worth looking for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Members {
    /// This node's own generation; the next start has a higher one.
    pub(super) generation: u64,
    /// Members, as they said or were told.
    #[serde(rename = "members")]
    pub(super) told: Vec<Identity>,
    /// Who finished a handshake, and where.
    pub(super) contacts: Vec<Contact>,
}

impl Members {
    /// The file's; none where it makes no sense, for it only saves time. Blocks on the disk.
    pub(super) fn load(root: &Root) -> Self {
        let read = root.read(Path::new(PATH), LIMIT);
        let parsed = match read {
            Ok(None) => return Self::default(),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        parsed.unwrap_or_else(|why| {
            tracing::warn!("{PATH} is of no use, and is written anew: {why}");
            Self::default()
        })
    }

    /// Writes the file, if it differs. Blocks on the disk.
    pub(super) fn save(mut self, root: &Root) -> Result<(), file::Error> {
        self.told.truncate(MEMBERS);
        self.contacts.truncate(MEMBERS);
        let path = Path::new(PATH);
        let failed = |operation| {
            move |source| file::Error::Io {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let mut bytes = serde_json::to_vec(&self)
            .map_err(std::io::Error::other)
            .map_err(failed("render"))?;
        bytes.push(b'\n');
        root.create_folders(Path::new(state::FOLDER), 0o755)
            .and_then(|()| root.create_folders(Path::new(FOLDER), 0o700))
            .map_err(failed("make the folder of"))?;
        file::replace(root, path, &bytes, 0o600).map(drop)
    }

    /// The same but for when somebody was met: that alone is not worth a write.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let places = |members: &Self| -> Vec<_> {
            let contacts = members.contacts.iter();
            contacts
                .map(|contact| (contact.peer.clone(), contact.addresses.clone()))
                .collect()
        };
        let told = |members: &Self| -> Vec<_> {
            let told = members.told.iter();
            let mut told: Vec<_> = told.map(|one| (one.tag(), one.generation())).collect();
            told.sort_unstable();
            told
        };
        self.generation == other.generation
            && told(self) == told(other)
            && places(self) == places(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::peers::gossip::{NodeName, Who};
    use crate::peers::transport::Peer;

    #[test]
    fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(Members::load(&root), Members::default());
        let at = "10.0.0.1:8442".parse().unwrap();
        let worker = Who::Worker(NodeName::parse("w1").unwrap());
        let members = Members {
            generation: 9,
            told: vec![Identity::new(worker, 7, vec![at]).unwrap()],
            contacts: vec![Contact {
                peer: Peer::Master(Name::parse("m1.k8s.internal").unwrap()),
                addresses: vec![at],
                last: 5,
            }],
        };
        members.clone().save(&root).unwrap();
        let loaded = Members::load(&root);
        assert_eq!(loaded, members);
        assert_eq!(loaded.told[0].addresses(), [at]);
        let mut later = members.clone();
        later.contacts[0].last = 6;
        assert!(later.says_the_same(&members));
        later.contacts[0].addresses.clear();
        assert!(!later.says_the_same(&members));
        std::fs::write(dir.path().join(&PATH[1..]), "{").unwrap();
        assert_eq!(Members::load(&root), Members::default());
    }
}
