//! What is remembered across restarts: the book, last known good, and whether this master is complete.
//!
//! A file that was read and makes no sense is damaged: it is set aside for a person to look at, and
//! rebuilt from the cluster file; versions and generation keep growing because they are at least Unix
//! time. A file that cannot be read may be a good one behind a bad moment (EIO, EMFILE, EACCES): it
//! is left alone, and nobody works without it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::book::Book;
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
    if let Some((name, _)) = stored
        .book
        .records
        .iter()
        .find(|(_, record)| record.addresses.is_empty())
    {
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
    use crate::book::{Event, reduce};

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
