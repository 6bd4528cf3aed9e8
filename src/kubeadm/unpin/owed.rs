//! Restarts that are owed: written down before a file is changed whose reader has to be restarted, so
//! that a run that dies between leaves it to the next one.

use std::collections::BTreeSet;

use super::noted::{Error, Noted};
use crate::root::Root;

/// Where they are written down, by the names of [`Restart`](super::groups::Restart).
const OWED: Noted = Noted {
    path: "/var/lib/stayput/unpin/owed.json",
    remedy: "restart kubelet, kube-controller-manager and kube-scheduler by hand, and remove it",
};

/// What is owed.
pub fn read(root: &Root) -> Result<BTreeSet<String>, Error> {
    OWED.read(root)
}

/// Writes down that one is owed.
pub fn add(root: &Root, name: &str) -> Result<(), Error> {
    let mut owed = read(root)?;
    owed.insert(name.to_owned());
    OWED.write(root, &owed)
}

/// Strikes one out.
pub fn strike(root: &Root, name: &str) -> Result<(), Error> {
    let mut owed = read(root)?;
    owed.remove(name);
    OWED.write(root, &owed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_stays_until_it_is_struck_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        add(&root, "kubelet").unwrap();
        add(&root, "kube-scheduler").unwrap();
        strike(&root, "kubelet").unwrap();
        assert_eq!(read(&root).unwrap(), ["kube-scheduler".to_owned()].into());
        strike(&root, "kube-scheduler").unwrap();
        assert!(read(&root).unwrap().is_empty());
    }
}
