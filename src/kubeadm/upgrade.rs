//! What differs between releases of kubeadm: the configuration's version, and the flags that a command
//! needs so that it pins nothing and renews no certificate.
//!
//! From kubeadm's sources: `--experimental-patches` up to 1.21, `--patches` from 1.22 on
//! (`cmd/options/constant.go`), and `patches.directory` in the configuration from v1beta3 on. `upgrade`
//! takes the folder from its flag alone: what `init` was told is not kept.

use std::path::Path;

/// A version of kubeadm's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// Up to 1.21: written by 1.15 to 1.21, read up to 1.26.
    V1Beta2,
    /// 1.22 to 1.30.
    V1Beta3,
    /// From 1.31: extra arguments are lists.
    V1Beta4,
}

impl Api {
    /// The newest one that kubeadm of a minor release reads.
    pub fn of(minor: u32) -> Self {
        match minor {
            ..=21 => Self::V1Beta2,
            22..=30 => Self::V1Beta3,
            _ => Self::V1Beta4,
        }
    }

    /// As `apiVersion` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta2 => "kubeadm.k8s.io/v1beta2",
            Self::V1Beta3 => "kubeadm.k8s.io/v1beta3",
            Self::V1Beta4 => "kubeadm.k8s.io/v1beta4",
        }
    }

    /// Whether the configuration itself names the folder of patches.
    pub fn has_patches(self) -> bool {
        self >= Self::V1Beta3
    }
}

/// The first minor release whose kubeadm needs the advertise address in apiserver.crt: `init` and `join`
/// wait for `https://ADVERTISEADDRESS:6443`, and a joining master's kubelet asks there
/// (`ControlPlaneKubeletLocalMode`).
pub const NEEDS_STABLE_SINCE: u32 = 33;

/// What `join` of a master without a stable address leaves to stayput: kubeadm's certificates phase asks
/// for the advertise address in apiserver.crt, and its etcd phase adds the member by address.
pub const SKIPPED_BY_JOIN: &str = "control-plane-prepare/certs,control-plane-join/etcd";

/// The flag for a folder of patches, as a part of a command that starts with a blank.
pub fn patches_flag(minor: u32, folder: &Path) -> String {
    let flag = match minor {
        ..=21 => "--experimental-patches",
        _ => "--patches",
    };
    format!(" {flag} {}", argument(folder))
}

/// A path as one word of a shell's command (POSIX 1003.1, XCU 2.2.2).
pub fn argument(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What `kubeadm upgrade` is called with, on the first master and on all others, by kubeadm of that
/// minor release; `folder` where the master has patches. stayput renews certificates, and kubeadm would
/// renew them without being asked.
pub fn upgrade_flags(minor: u32, folder: Option<&Path>) -> String {
    let patches = folder.map_or(String::new(), |folder| patches_flag(minor, folder));
    format!("--certificate-renewal=false{patches}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_its_api_and_flags() {
        let folder = Path::new("/p");
        for (minor, api, flag) in [
            (20, "kubeadm.k8s.io/v1beta2", "--experimental-patches"),
            (21, "kubeadm.k8s.io/v1beta2", "--experimental-patches"),
            (22, "kubeadm.k8s.io/v1beta3", "--patches"),
            (30, "kubeadm.k8s.io/v1beta3", "--patches"),
            (31, "kubeadm.k8s.io/v1beta4", "--patches"),
            (36, "kubeadm.k8s.io/v1beta4", "--patches"),
        ] {
            assert_eq!(Api::of(minor).as_str(), api, "1.{minor}");
            let want = format!("--certificate-renewal=false {flag} /p");
            assert_eq!(upgrade_flags(minor, Some(folder)), want, "1.{minor}");
        }
        for (path, want) in [
            ("/p/a-b_c.d+1", "/p/a-b_c.d+1"),
            ("/my patches", "'/my patches'"),
            ("/a;reboot", "'/a;reboot'"),
            ("/$HOME/`x`", "'/$HOME/`x`'"),
            ("/it's", r"'/it'\''s'"),
            ("/ä", "'/ä'"),
        ] {
            assert_eq!(argument(Path::new(path)), want);
        }
        assert_eq!(upgrade_flags(34, None), "--certificate-renewal=false");
    }
}
