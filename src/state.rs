//! What is remembered across restarts: the book, last known good, and whether this master is complete.
//!
//! A file that was read and makes no sense is damaged: it is set aside for a person to look at, and
//! rebuilt from the cluster file; versions and generation keep growing because they are at least Unix
//! time. A file that cannot be read may be a good one behind a bad moment (EIO, EMFILE, EACCES): it
//! is left alone, and nobody works without it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::book::{Book, Says};
use crate::file;
use crate::name::Name;
use crate::provision::Provision;
use crate::root::Root;

/// Where the state lies.
pub const PATH: &str = "/var/lib/stayput/state.json";
/// The folder of [`PATH`].
pub const FOLDER: &str = "/var/lib/stayput";
/// Far above what ten thousand masters need.
const LIMIT: u64 = 64 << 20;
/// The format of the file.
const FORMAT: u32 = 1;

/// The file's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The last book.
    pub book: Book,
    /// Whether this master is complete.
    pub provision: Provision,
    /// Where the hosts block was last written, so that it can be taken out when it moves.
    pub block: Option<Block>,
}

/// A hosts block: its file, and the domain that owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The hosts file, below the root.
    pub path: PathBuf,
    /// The cluster's domain.
    pub domain: Name,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    book: Book,
    provision: Provision,
    #[serde(default)]
    block: Option<Block>,
}

/// What loading found.
#[derive(Debug)]
pub enum Loaded {
    /// A good file.
    Good(State),
    /// No file: a first start.
    Fresh,
    /// A damaged one, now out of the way.
    Damaged {
        /// What is wrong with it.
        reason: String,
        /// Where it lies now; `None` where it could not be moved.
        set_aside: Option<PathBuf>,
    },
    /// One of which nothing is known; it is left where it is.
    Unreadable(Unreadable),
}

/// Why the file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read {PATH}: {0}; it is left as it is, because it may hold addresses that the cluster file does not: make it readable, or move it away to start from the cluster file"
)]
pub struct Unreadable(pub String);

/// Reads the state; a damaged file is set aside.
pub fn load(root: &Root) -> Loaded {
    match peek(root) {
        Loaded::Damaged { reason, .. } => Loaded::Damaged {
            reason,
            set_aside: file::set_aside(root, Path::new(PATH), ".damaged")
                .ok()
                .flatten(),
        },
        other => other,
    }
}

/// Reads the state and leaves even a damaged file where it is.
pub fn peek(root: &Root) -> Loaded {
    let reason = match root.read(Path::new(PATH), LIMIT) {
        Ok(None) => return Loaded::Fresh,
        Ok(Some(bytes)) => match parse(&bytes) {
            Ok(state) => return Loaded::Good(state),
            Err(reason) => reason,
        },
        // No state grows that large.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => error.to_string(),
        Err(error) => return Loaded::Unreadable(Unreadable(error.to_string())),
    };
    Loaded::Damaged {
        reason,
        set_aside: None,
    }
}

fn parse(bytes: &[u8]) -> Result<State, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.format != FORMAT {
        return Err(format!("format {} is not {FORMAT}", stored.format));
    }
    let Book {
        records, signed, ..
    } = &stored.book;
    let mut entries = records.iter();
    let mut signed = signed.iter();
    let bare = entries
        .find(|(_, record)| record.addresses.is_empty())
        .map(|(name, _)| name);
    let signed = signed.find(|(_, signed)| signed.says == Says::At(Vec::new()));
    if let Some(name) = bare.or(signed.map(|(name, _)| name)) {
        return Err(format!("{name} has no address"));
    }
    Ok(State {
        book: stored.book,
        provision: stored.provision,
        block: stored.block,
    })
}

/// Saves the state, fsynced; tells whether it differed from what was there.
pub fn save(root: &Root, state: &State) -> Result<bool, file::Error> {
    let stored = Stored {
        format: FORMAT,
        book: state.book.clone(),
        provision: state.provision,
        block: state.block.clone(),
    };
    let path = Path::new(PATH);
    let failed = |operation, source| file::Error::Io {
        operation,
        path: path.to_owned(),
        source,
    };
    let mut bytes =
        serde_json::to_vec_pretty(&stored).map_err(|source| failed("render", source.into()))?;
    bytes.push(b'\n');
    root.create_folders(Path::new(FOLDER), 0o755)
        .map_err(|source| failed("make the folder of", source))?;
    file::replace(root, path, &bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Event, Signed, reduce};
    use std::collections::BTreeMap;

    fn sandbox() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn some_state() -> State {
        let told = Event::Told {
            name: Name::parse("master-1.k8s.internal").unwrap(),
            addresses: vec!["10.77.0.11".parse().unwrap()],
        };
        State {
            book: reduce(&Book::default(), &told, 7).unwrap(),
            provision: Provision::default().told(3),
            block: Some(Block {
                path: "/etc/hosts".into(),
                domain: Name::parse("k8s.internal").unwrap(),
            }),
        }
    }

    #[test]
    fn comes_back_as_it_was_saved() {
        let (_dir, root) = sandbox();
        assert!(matches!(load(&root), Loaded::Fresh));
        assert!(save(&root, &some_state()).unwrap());
        assert!(!save(&root, &some_state()).unwrap());
        assert!(matches!(load(&root), Loaded::Good(state) if state == some_state()));
    }

    #[test]
    fn what_records_said_comes_back() {
        let (_dir, root) = sandbox();
        let name = |text: &str| Name::parse(text).unwrap();
        let signed = |version, says| Signed { version, says };
        let event = Event::Recorded {
            records: BTreeMap::from([
                (
                    name("master-1.k8s.internal"),
                    signed(9, Says::At(vec!["10.77.0.12".parse().unwrap()])),
                ),
                (name("master-2.k8s.internal"), signed(8, Says::Removed)),
            ]),
            own: None,
        };
        let mut state = some_state();
        state.book = reduce(&state.book, &event, 7).unwrap();
        save(&root, &state).unwrap();
        assert!(matches!(load(&root), Loaded::Good(loaded) if loaded == state));
    }

    #[test]
    fn a_file_from_before_signed_records_is_read() {
        let (dir, root) = sandbox();
        let path = dir.path().join("var/lib/stayput/state.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let old = r#"{"format": 1, "book": {"generation": 1764000007,
            "records": {"master-1.k8s.internal":
                {"addresses": ["10.77.0.11"], "version": 1764000007, "origin": "interface"}},
            "said": {"cluster-file": {"master-1.k8s.internal": ["10.77.0.9"]},
                "interface": {"master-1.k8s.internal": ["10.77.0.11"]}}},
            "provision": {"complete": null, "heldBack": false, "manifestSeen": true},
            "block": {"path": "/etc/hosts", "domain": "k8s.internal"}}"#;
        std::fs::write(&path, old).unwrap();
        let Loaded::Good(state) = load(&root) else {
            panic!("not read");
        };
        let master = Name::parse("master-1.k8s.internal").unwrap();
        assert_eq!(state.book.addresses(&master).len(), 1);
        assert!(state.book.signed.is_empty() && state.book.declared.is_empty());
        // The cluster file that is in force already moves nobody.
        let file = Event::Declared(BTreeMap::from([(
            master,
            vec!["10.77.0.9".parse().unwrap()],
        )]));
        let next = reduce(&state.book, &file, 1_764_000_100).unwrap();
        assert_eq!(next.generation, state.book.generation);
        assert_eq!(next.records, state.book.records);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        let (dir, root) = sandbox();
        let path = dir.path().join("var/lib/stayput/state.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Also for root: a symlink that leads to itself.
        std::os::unix::fs::symlink("state.json", &path).unwrap();
        let loaded = load(&root);
        let Loaded::Unreadable(unreadable) = &loaded else {
            panic!("{loaded:?}");
        };
        assert!(unreadable.to_string().contains("symbolic links"));
        assert!(path.is_symlink());
        // Too large is no bad moment.
        std::fs::remove_file(&path).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(LIMIT + 1).unwrap();
        assert!(matches!(peek(&root), Loaded::Damaged { .. }));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_not_lost() {
        let (dir, root) = sandbox();
        save(&root, &some_state()).unwrap();
        let path = dir.path().join("var/lib/stayput/state.json");
        let good = std::fs::read(&path).unwrap();
        for damaged in [
            &good[..good.len() / 2],
            b"",
            b"{\"format\":9,\"book\":{\"generation\":1,\"records\":{}},\"provision\":{}}",
            b"{\"format\":1,\"book\":{\"generation\":1,\"records\":{},\"signed\":{\"m.x\":{\"version\":1,\"says\":{\"at\":[]}}}},\"provision\":{}}",
        ] {
            std::fs::write(&path, damaged).unwrap();
            let Loaded::Damaged { set_aside, .. } = load(&root) else {
                panic!("loaded {damaged:?}");
            };
            let aside = dir
                .path()
                .join(set_aside.unwrap().strip_prefix("/").unwrap());
            assert_eq!(std::fs::read(aside).unwrap(), damaged);
            assert!(matches!(load(&root), Loaded::Fresh));
        }
    }
}
