//! `stayput kubeadm`: what kubeadm pins to addresses.

mod audit;
mod config;
mod follow;
mod join_etcd;
mod leave_etcd;
mod membership;
mod patches;
mod rescue;
mod unpin;

use clap::Subcommand;

use super::context::{Context, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum KubeadmCommand {
    /// Print the kubeadm configuration for this node
    ///
    /// For `kubeadm init --config`, or with --join for `kubeadm join --config`, in the version of the
    /// API that the cluster file's Kubernetes release has. The commands to run, before and after, and
    /// those of a later upgrade stand at its head. From 1.33 on every master needs a stable address.
    Config(config::ConfigArgs),
    /// Write this node's patches for kubeadm
    ///
    /// What makes a master without a stable address start again at another one: etcd listens at every
    /// address and tells its name, and kube-apiserver is probed on loopback. Files of other names in
    /// the folder stay; a second run changes nothing.
    Patches(patches::PatchesArgs),
    /// Show every place that pins an address which can change
    ///
    /// On this node and in the cluster, the worst first: the line, what breaks, what to put there
    /// instead. Exit code 1 if something pins; 71 or 69 if nothing does in what could be looked at, but
    /// a file could not be read, or the cluster did not answer or kubeadm has no files here. In a sandbox
    /// (--root) the cluster is not asked.
    Audit(audit::AuditArgs),
    /// Mend what audit finds on an existing cluster
    ///
    /// Run it on every node, workers too; it keeps the order across nodes by itself and says whom it waits
    /// for. Shows every change before it makes one, keeps copies in /var/lib/stayput/unpin, restarts one
    /// component at a time, and stops at the first that does not get well. It needs an API that answers.
    /// Exit code 0 if nothing is left to do, 1 if something is.
    Unpin(unpin::UnpinArgs),
    /// Give masters their old addresses back, so that a dead cluster comes up as it was
    ///
    /// Run it on every node with the same arguments: NAME=OLD for each master that has moved. The old
    /// address is put on the master's loopback, and a route leads to it through the current one; nothing
    /// of Kubernetes is edited. It holds, also after a restart, until `rescue --end`.
    Rescue(rescue::RescueArgs),
    /// Add this master to etcd by its name
    ///
    /// In place of kubeadm's own phase, for a master without a stable address: a learner is added, etcd's
    /// manifest is written as the other members run it, and the learner becomes a voter when it is in
    /// sync. What was interrupted is finished by the next run.
    JoinEtcd(join_etcd::JoinEtcdArgs),
    /// Take this master out of etcd by its name
    ///
    /// Before `kubeadm reset`, or with --name for a machine that is gone. Refused where the others would
    /// have no majority.
    LeaveEtcd(leave_etcd::LeaveEtcdArgs),
    /// Bring kube-apiserver's advertise address to this master's, and audit this node
    ///
    /// What the agent starts (`kubeadm.follow` of the cluster file) when this master's address, a manifest or
    /// kubelet.conf has changed. Without a stable address, and once the new address is on an interface, the
    /// manifest is exchanged, which restarts kube-apiserver; nothing else is touched.
    Follow(follow::FollowArgs),
}

pub(super) fn kubeadm(context: &Context, command: KubeadmCommand) -> Result<u8, Failure> {
    match command {
        KubeadmCommand::Config(args) => config::config(context, args),
        KubeadmCommand::Patches(args) => patches::patches(context, args),
        KubeadmCommand::Audit(args) => audit::audit(context, args),
        KubeadmCommand::Unpin(args) => unpin::unpin(context, args),
        KubeadmCommand::Rescue(args) => rescue::rescue(context, args),
        KubeadmCommand::JoinEtcd(args) => join_etcd::join_etcd(context, args),
        KubeadmCommand::LeaveEtcd(args) => leave_etcd::leave_etcd(context, args),
        KubeadmCommand::Follow(args) => follow::follow(context, args),
    }
}
