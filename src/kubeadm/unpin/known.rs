//! Addresses that are known to be, or to have been, a master's. Only these are dropped from certificates:
//! any other one there may be a load balancer's. The files that name the old ones are mended before the
//! certificates are, maybe by an earlier run, and so each run writes down what it sees.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::noted::{Error, Noted};
use crate::root::Root;

/// Where they are written down.
const KNOWN: Noted = Noted {
    path: "/var/lib/stayput/unpin/masters.json",
    remedy: "remove it: addresses that nothing else knows as a master's then stay in the certificates",
};

/// Those that were written down.
pub fn read(root: &Root) -> Result<BTreeSet<IpAddr>, Error> {
    KNOWN.read(root)
}

/// Writes down all of these, where that is news.
pub fn save(root: &Root, all: &BTreeSet<IpAddr>) -> Result<(), Error> {
    if read(root)?.is_superset(all) {
        return Ok(());
    }
    KNOWN.write(root, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let all: BTreeSet<IpAddr> = ["10.77.0.11", "fd77::11"]
            .map(|it| it.parse().unwrap())
            .into();
        save(&root, &all).unwrap();
        assert_eq!(read(&root).unwrap(), all);
        // Fewer are no news.
        save(&root, &BTreeSet::new()).unwrap();
        assert_eq!(read(&root).unwrap(), all);
        let file = dir.path().join(&KNOWN.path[1..]);
        std::fs::write(file, "?").unwrap();
        assert!(matches!(save(&root, &all), Err(Error::Damaged { .. })));
    }
}
