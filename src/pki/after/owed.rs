//! What still has to follow a renewal, on disk until it has.
//!
//! A new certificate in its place is half of a renewal: kube-scheduler works with the old one until it
//! is restarted, and would until that expires. So a step that failed, or that a run did not live to
//! do, is owed, and every later run tries again, also where nothing is due.
//!
//! It is written before the first file changes, so no death loses it. Where the change did not come
//! about the old certificate is still there, known by its serial number, and nothing is owed for it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pods;
use crate::config::cluster::{AfterRenew, Hook};
use crate::file;
use crate::pki::wanted::Item;
use crate::root::Root;
use crate::state;

/// Where it lies; absent where nothing is owed.
pub const PATH: &str = "/var/lib/stayput/certificates/owed.json";
/// Far above what the longest list of certificates needs.
const LIMIT: u64 = 1 << 20;

/// Steps, by their [`key`](pod), and the certificates that each is owed for: an item's id, and the serial
/// number of the certificate that was there before (empty where there was none to be read).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    steps: BTreeMap<String, BTreeMap<String, String>>,
}

/// Why it cannot be known or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {PATH}, which says what still has to follow a renewal: {0}")]
    Read(std::io::Error),
    /// It holds something else.
    #[error(
        "{PATH} is damaged ({0}): whether something still has to follow an earlier renewal is not known. Restart what uses renewed kubeconfigs if in doubt, and remove that file"
    )]
    Damaged(serde_json::Error),
    /// It cannot be written.
    #[error("cannot note what has to follow a renewal: {0}")]
    Write(#[from] file::Error),
}

/// A static pod's key.
pub(super) fn pod(name: &str) -> String {
    format!("static pod {name}")
}

/// A program's key.
pub(super) fn program(hook: &Hook) -> String {
    format!("program {}", hook.command.join(" "))
}

/// The keys of the steps that follow an item's renewal.
fn keys(steps: &[AfterRenew], item: &Item) -> Vec<String> {
    let of = |step: &AfterRenew| -> Vec<String> {
        match step {
            AfterRenew::StaticPods => pods(std::slice::from_ref(item))
                .into_iter()
                .map(pod)
                .collect(),
            AfterRenew::Program(hook) => {
                let concerned = super::hooks::concerns(hook, &[&item.id]);
                concerned.iter().map(|_| program(hook)).collect()
            }
        }
    };
    steps.iter().flat_map(of).collect()
}

impl Owed {
    /// What earlier runs have left.
    pub fn read(root: &Root) -> Result<Self, Error> {
        let bytes = root.read(Path::new(PATH), LIMIT).map_err(Error::Read)?;
        let owed = bytes.map(|bytes| serde_json::from_slice(&bytes));
        Ok(owed
            .transpose()
            .map_err(Error::Damaged)?
            .unwrap_or_default())
    }

    /// Keeps it durably.
    pub fn save(&self, root: &Root) -> Result<(), Error> {
        let path = Path::new(PATH);
        if self.steps.is_empty() {
            file::remove(root, path)?;
            return Ok(());
        }
        let failed = |source| file::Error::Io {
            operation: "make the folder of",
            path: path.to_owned(),
            source,
        };
        root.create_folders(Path::new(state::FOLDER), 0o755)
            .and_then(|()| root.create_folders(path.parent().unwrap_or(path), 0o700))
            .map_err(failed)?;
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        bytes.push(b'\n');
        file::replace(root, path, &bytes, 0o600)?;
        Ok(())
    }

    /// An item is about to be renewed whose certificate has this serial number. One that is owed
    /// something already still is, even if this renewal does not come about.
    pub fn add(&mut self, steps: &[AfterRenew], item: &Item, serial: &str) {
        for key in keys(steps, item) {
            let items = self.steps.entry(key).or_default();
            items
                .entry(item.id.clone())
                .or_insert_with(|| serial.to_owned());
        }
    }

    /// Only what these steps still ask for, and only for items whose certificate is another one than
    /// before. `serial`: that of the item's certificate now.
    pub fn retain(
        &mut self,
        steps: &[AfterRenew],
        items: &[Item],
        serial: impl Fn(&str) -> Option<String>,
    ) {
        for (key, owed) in &mut self.steps {
            owed.retain(|id, before| {
                let item = items.iter().find(|item| item.id == *id);
                let asked = item.is_some_and(|item| keys(steps, item).contains(key));
                asked && serial(id).is_none_or(|now| now != *before)
            });
        }
        self.steps.retain(|_, owed| !owed.is_empty());
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Those of the items that a step is owed for, in their order.
    pub(super) fn of<'a>(&self, key: &str, items: &'a [Item]) -> Vec<&'a str> {
        let owed = self.steps.get(key);
        let ids = items.iter().map(|item| item.id.as_str());
        ids.filter(|id| owed.is_some_and(|owed| owed.contains_key(*id)))
            .collect()
    }

    /// A step has been done.
    pub(super) fn settle(&mut self, root: &Root, key: &str) {
        self.steps.remove(key);
        if let Err(error) = self.save(root) {
            tracing::warn!(%error, "a step after a renewal will be done once more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::after::tests::{item, program as step};
    use crate::pki::catalogue::Reload;

    fn items() -> [Item; 2] {
        [
            item("scheduler.conf", &[("kube-scheduler", Reload::StaticPod)]),
            item("apiserver", &[("kube-apiserver", Reload::Itself)]),
        ]
    }

    fn steps() -> [AfterRenew; 2] {
        [AfterRenew::StaticPods, step("/tell", &[])]
    }

    fn owed() -> Owed {
        let mut owed = Owed::default();
        for item in &items() {
            owed.add(&steps(), item, "old");
        }
        owed
    }

    #[test]
    fn it_is_kept_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(Owed::read(&root).unwrap().is_empty());
        let mut owed = owed();
        owed.save(&root).unwrap();
        assert_eq!(Owed::read(&root).unwrap(), owed);
        assert_eq!(
            owed.of(&pod("kube-scheduler"), &items()),
            ["scheduler.conf"]
        );
        assert_eq!(
            owed.of("program /tell", &items()),
            ["scheduler.conf", "apiserver"]
        );
        owed.settle(&root, "program /tell");
        assert_eq!(Owed::read(&root).unwrap(), owed);
        owed.settle(&root, &pod("kube-scheduler"));
        assert!(owed.is_empty() && !dir.path().join(&PATH[1..]).exists());
    }

    #[test]
    fn it_is_dropped_where_nothing_changed_or_nobody_asks() {
        let now = |serial: &'static str| move |_: &str| Some(serial.to_owned());
        let kept = |steps: &[AfterRenew], items: &[Item], serial| {
            let mut owed = owed();
            // Renewed once more, before anything was done for the first time.
            for item in items {
                owed.add(steps, item, "new");
            }
            owed.retain(steps, items, now(serial));
            owed
        };
        assert_eq!(kept(&steps(), &items(), "new"), owed());
        assert!(kept(&steps(), &items(), "old").is_empty());
        assert!(kept(&steps(), &[], "new").is_empty());
        let pods = kept(&[AfterRenew::StaticPods], &items(), "new");
        assert_eq!(
            pods.steps.keys().collect::<Vec<_>>(),
            ["static pod kube-scheduler"]
        );
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        owed().save(&root).unwrap();
        std::fs::write(dir.path().join(&PATH[1..]), "{").unwrap();
        let error = Owed::read(&root).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains(PATH), "{error}");
    }
}
