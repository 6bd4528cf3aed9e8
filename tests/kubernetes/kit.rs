//! What the suite needs of the machine: the programs that `tests/kubernetes/build` makes, and others.

use std::path::{Path, PathBuf};

use crate::support::here;

/// Kubernetes' programs and images, and their version.
pub(crate) struct Kit {
    /// The programs; bound to `/usr/local/bin` of each node.
    pub(crate) bin: PathBuf,
    /// What `ctr image import` takes.
    pub(crate) images: Vec<PathBuf>,
}

pub(crate) const VERSION: &str = "1.20.2";
const IMAGES: [&str; 5] = [
    "pause",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

impl Kit {
    /// The kit, if everything is here. Where it is required, what is missing fails the test; else it is
    /// said loudly and the test is over.
    pub(crate) fn find() -> Option<Self> {
        let programs = [
            "ip",
            "nsenter",
            "unshare",
            "setpriv",
            "mount",
            "containerd",
            "ctr",
            "runc",
            "haproxy",
            "kubectl",
            "etcdctl",
            "pgrep",
            "pkill",
            "curl",
        ];
        if !here(true, &programs) {
            return None;
        }
        let cache = cache();
        let mut missing = Vec::new();
        if !cache.join("complete").exists() {
            missing.push(format!(
                "Kubernetes {VERSION} in {} (tests/kubernetes/build)",
                cache.display()
            ));
        }
        if !Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
            missing.push("control groups of version 1".to_owned());
        }
        if missing.is_empty() {
            let image = |name| cache.join("images").join(format!("{name}.tar"));
            return Some(Self {
                bin: cache.join("bin"),
                images: IMAGES.map(image).into(),
            });
        }
        let is_one = |name| std::env::var_os(name).is_some_and(|value| value == "1");
        let required = is_one("STAYPUT_REQUIRE_KUBERNETES");
        let missing = missing.join(", ");
        assert!(!required, "missing: {missing}");
        eprintln!("SKIPPED: missing: {missing}");
        None
    }
}

/// As in `tests/kubernetes/build`.
fn cache() -> PathBuf {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    folder("STAYPUT_KUBERNETES").unwrap_or_else(|| {
        let caches = folder("XDG_CACHE_HOME")
            .or_else(|| Some(folder("HOME")?.join(".cache")))
            .unwrap_or_default();
        caches.join(format!("stayput/kubernetes-{VERSION}"))
    })
}
