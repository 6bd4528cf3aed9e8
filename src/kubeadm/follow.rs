//! kube-apiserver's manifest brought to this master's address.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netlink_packet_route::address::AddressFlags;

use super::advertise::{self, Addresses, Decision, Keep, POD};
use super::manifest::{self, Manifest};
use crate::config::node::APISERVER_MANIFEST;
use crate::root::Root;
use crate::source::interface::Snapshot;
use crate::static_pod::processes::Processes;
use crate::static_pod::{self, Change, Limits, Restarted, exchange};

/// The largest manifest that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// This node has no kube-apiserver.
    NoManifest,
    /// It advertises this address, or none, and goes on so.
    Kept(Option<IpAddr>, Keep),
    /// It advertises another one now.
    Changed {
        /// What it advertised.
        from: IpAddr,
        /// What it advertises.
        to: IpAddr,
        /// How long that took.
        restarted: Restarted,
    },
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => write!(f, "this node has no {APISERVER_MANIFEST}"),
            Self::Kept(Some(address), keep) => {
                write!(f, "kube-apiserver goes on advertising {address}: {keep}")
            }
            Self::Kept(None, keep) => write!(f, "kube-apiserver's address stays: {keep}"),
            Self::Changed {
                from,
                to,
                restarted: Restarted::Done { gone, back },
            } => write!(
                f,
                "kube-apiserver advertises {to} instead of {from}: gone after {:.1} s, back after {:.1} s more",
                gone.as_secs_f64(),
                back.as_secs_f64()
            ),
            Self::Changed { from, to, .. } => write!(
                f,
                "kube-apiserver advertises {to} instead of {from} when it starts; it does not run"
            ),
        }
    }
}

/// Why it does not advertise this master's address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest cannot be read.
    #[error("cannot read {APISERVER_MANIFEST}: {0}")]
    Read(std::io::Error),
    /// It makes no sense, or cannot be changed safely.
    #[error("{APISERVER_MANIFEST} {0}")]
    Manifest(#[from] manifest::Error),
    /// It could not be exchanged.
    #[error("cannot bring kube-apiserver's address from {from} to {to}: {source}")]
    Exchange {
        /// What it advertises.
        from: IpAddr,
        /// What it was to advertise.
        to: IpAddr,
        /// Why not.
        source: static_pod::Error,
    },
    /// It was exchanged earlier, and no kube-apiserver runs since.
    #[error(
        "kube-apiserver does not run since its manifest was changed; the old one is kept as {}: compare them, see the kubelet's log and the container's (crictl logs), and put right what keeps it from starting",
        kept.display()
    )]
    Down {
        /// The old manifest.
        kept: PathBuf,
    },
    /// Whether it runs cannot be seen.
    #[error("it is not known whether kube-apiserver runs by its new manifest: {0}")]
    Unseen(static_pod::Error),
}

/// kube-apiserver's manifest; `None` where this node has none.
pub fn manifest(root: &Root) -> Result<Option<(Vec<u8>, Manifest)>, Error> {
    let Some(bytes) = root
        .read(Path::new(APISERVER_MANIFEST), LIMIT)
        .map_err(Error::Read)?
    else {
        return Ok(None);
    };
    let text = str::from_utf8(&bytes).map_err(|error| {
        Error::Read(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    })?;
    let manifest = Manifest::parse(text)?;
    Ok(Some((bytes, manifest)))
}

/// Has kube-apiserver advertise what this master's address is now, if there is a reason to. `port` is
/// kube-apiserver's. For whoever holds the certificates' lock and has made good what an earlier run has
/// left ([`static_pod::recover`]).
pub async fn follow(
    root: &Root,
    addresses: Addresses<'_>,
    port: u16,
    (processes, limits): (&Processes, &Limits),
    stop: impl Future<Output = ()>,
) -> Result<Followed, Error> {
    let Some((bytes, manifest)) = manifest(root)? else {
        return Ok(Followed::NoManifest);
    };
    let (from, to) = match advertise::decide(&manifest, addresses) {
        Decision::Keep(keep) => {
            let down = static_pod::unproven(root, processes, POD).map_err(Error::Unseen)?;
            if let Some(kept) = down {
                return Err(Error::Down { kept });
            }
            return Ok(Followed::Kept(advertise::advertised(&manifest), keep));
        }
        Decision::Set { from, to } => (from, to),
    };
    let new = manifest.with(&advertise::edits(&manifest, to, port))?;
    let change = Change {
        from: &bytes,
        to: new.as_bytes(),
    };
    let restarted = exchange(root, processes, POD, change, limits, stop)
        .await
        .map_err(|source| Error::Exchange { from, to, source })?;
    match restarted {
        // Somebody has taken it away meanwhile.
        Restarted::NoManifest => Ok(Followed::NoManifest),
        restarted => Ok(Followed::Changed {
            from,
            to,
            restarted,
        }),
    }
}

/// The addresses that this machine can be reached at now: on a link that is up, and proved to be
/// nobody else's (RFC 4862).
pub fn present(snapshot: &Snapshot) -> Vec<IpAddr> {
    let unproven = AddressFlags::Tentative | AddressFlags::Dadfailed;
    let up = |index| {
        let mut links = snapshot.links.iter();
        links.any(|link| link.index == index && link.up)
    };
    let usable = snapshot
        .addresses
        .iter()
        .filter(|address| up(address.index) && !address.flags.intersects(unproven));
    usable
        .map(|address| address.address.to_canonical())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlink_packet_route::address::AddressScope;

    use super::*;
    use crate::source::interface::{Address, Link};

    #[test]
    fn only_what_is_really_there_counts() {
        let link = |index, up| Link {
            index,
            name: format!("eth{index}"),
            kind: None,
            up,
            loopback: false,
        };
        let address = |index, address: &str, flags| Address {
            index,
            address: address.parse().unwrap(),
            prefix: 24,
            scope: AddressScope::Universe,
            flags,
        };
        let none = AddressFlags::empty();
        let snapshot = Snapshot {
            links: vec![link(1, true), link(2, false)],
            addresses: vec![
                address(1, "10.0.0.1", AddressFlags::Permanent),
                address(1, "fd00::1", AddressFlags::Tentative),
                address(
                    1,
                    "fd00::2",
                    AddressFlags::Permanent | AddressFlags::Dadfailed,
                ),
                address(1, "fd00::3", none),
                address(2, "10.0.0.2", none),
                address(3, "10.0.0.3", none),
            ],
            routes: Vec::new(),
        };
        let want: Vec<IpAddr> = ["10.0.0.1", "fd00::3"].map(|a| a.parse().unwrap()).into();
        assert_eq!(present(&snapshot), want);
    }

    /// A sandbox with a manifest whose process nobody runs.
    fn node(text: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(&APISERVER_MANIFEST[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    async fn followed(root: &Root, own: &str) -> Result<Followed, Error> {
        let own: Vec<IpAddr> = vec![own.parse().unwrap()];
        let addresses = Addresses {
            own: &own,
            here: &own,
            stable: None,
        };
        let limits = Limits {
            back: Duration::from_millis(50),
            look: Duration::from_millis(10),
            ..Limits::default()
        };
        let machine = (&Processes::new(Path::new("/proc")), &limits);
        follow(root, addresses, 6443, machine, std::future::pending()).await
    }

    #[tokio::test]
    async fn a_change_is_handled_once() {
        let text = |address: &str| {
            format!(
                "# ours\nspec:\n  hostNetwork: true\n  containers:\n  - command: [no-such-apiserver, --advertise-address={address}]\n"
            )
        };
        let (dir, root) = node(&text("10.0.0.1"));
        let path = dir.path().join(&APISERVER_MANIFEST[1..]);
        let current = Followed::Kept("10.0.0.1".parse().ok(), Keep::Current);
        assert_eq!(followed(&root, "10.0.0.1").await.unwrap(), current);
        for (from, to) in [
            ("10.0.0.1", "10.0.0.2"),
            ("10.0.0.2", "fd00::1"),
            ("fd00::1", "10.0.0.3"),
        ] {
            let got = followed(&root, to).await.unwrap();
            if from.contains(':') == to.contains(':') {
                let want = Followed::Changed {
                    from: from.parse().unwrap(),
                    to: to.parse().unwrap(),
                    restarted: Restarted::NotRunning,
                };
                assert_eq!(got, want);
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text(to));
            } else {
                assert!(matches!(got, Followed::Kept(_, Keep::Family)), "{got:?}");
                std::fs::write(&path, text(to)).unwrap();
            }
            let again = Followed::Kept(to.parse().ok(), Keep::Current);
            assert_eq!(followed(&root, to).await.unwrap(), again);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            followed(&root, "10.0.0.9").await.unwrap(),
            Followed::NoManifest
        );
    }

    #[tokio::test]
    async fn an_exchange_whose_process_does_not_come_stays_a_failure_until_it_runs() {
        let text = |program: &str, address: &str| {
            format!(
                "spec:\n  hostNetwork: true\n  containers:\n  - command: [{program}, --advertise-address={address}]\n"
            )
        };
        let (dir, root) = node(&text("no-such-apiserver", "10.0.0.2"));
        let kept = dir
            .path()
            .join("etc/kubernetes/.stayput-restart/kube-apiserver.yaml.replaced");
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, text("no-such-apiserver", "10.0.0.1")).unwrap();
        for _ in 0..2 {
            let error = followed(&root, "10.0.0.2").await.unwrap_err();
            assert!(matches!(error, Error::Down { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains("kube-apiserver.yaml.replaced"), "{error}");
            assert!(kept.exists());
        }
        // Yet another address does not make it well either.
        let error = followed(&root, "10.0.0.3").await.unwrap_err();
        let not_up = matches!(
            error,
            Error::Exchange {
                source: static_pod::Error::NotUp { .. },
                ..
            }
        );
        assert!(not_up, "{error}");
        assert!(kept.exists());
        // This test's own program stands for kube-apiserver.
        let own = std::env::current_exe().unwrap();
        let path = dir.path().join(&APISERVER_MANIFEST[1..]);
        std::fs::write(&path, text(own.to_str().unwrap(), "10.0.0.3")).unwrap();
        let current = Followed::Kept("10.0.0.3".parse().ok(), Keep::Current);
        assert_eq!(followed(&root, "10.0.0.3").await.unwrap(), current);
        assert!(!kept.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn what_cannot_be_understood_is_left_alone() {
        for text in ["a: [", "kind: Pod", "\u{0}"] {
            let (dir, root) = node(text);
            let error = followed(&root, "10.0.0.1").await.unwrap_err();
            assert!(error.to_string().contains("kube-apiserver.yaml"), "{error}");
            let path = dir.path().join(&APISERVER_MANIFEST[1..]);
            assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        }
    }
}
