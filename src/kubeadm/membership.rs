//! etcd's members come and go by name.
//!
//! kubeadm registers a new member by its address, and looks for it by its address when it goes. A master
//! without an address that stays joins and leaves etcd here instead: as a learner first, which takes no
//! part in votes, so that no majority is lost while it catches up; and it is taken out before its machine
//! is reset, so that no dead voter stays.
//!
//! [`plan`] decides by the member list, [`manifest`](mod@manifest) is what the kubelet is given; [`join()`]
//! and [`leave()`] do it. The member list and the manifest are the journal: a run that was interrupted is
//! finished by the next one.

mod error;
mod healthy;
mod join;
mod leave;
pub mod manifest;
pub mod plan;

pub use error::Error;
pub use join::{Join, Joined, join};
pub use leave::{Leave, Left, leave, member_of};

/// The static pod.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
/// Where the manifest of a member that has left lies: out of the kubelet's sight.
pub const LEFT: &str = "/etc/kubernetes/.stayput-left-etcd.yaml";
