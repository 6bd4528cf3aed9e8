//! `stayput kubeadm leave-etcd`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct LeaveEtcdArgs {}

pub(super) fn leave_etcd(_context: &Context, _args: LeaveEtcdArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
