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
    Config(config::ConfigArgs),
    /// Write this node's patches for kubeadm
    Patches(patches::PatchesArgs),
    /// Show every place that pins an address which can change
    Audit(audit::AuditArgs),
    /// Mend what audit finds on an existing cluster
    Unpin(unpin::UnpinArgs),
    /// Give masters their old addresses back, so that a dead cluster comes up as it was
    Rescue(rescue::RescueArgs),
    /// Add this master to etcd by its name
    JoinEtcd(join_etcd::JoinEtcdArgs),
    /// Take this master out of etcd by its name
    LeaveEtcd(leave_etcd::LeaveEtcdArgs),
    /// Bring kube-apiserver's advertise address to this master's, and audit this node
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
