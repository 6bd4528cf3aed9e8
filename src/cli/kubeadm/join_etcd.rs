//! `stayput kubeadm join-etcd`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(in crate::cli) struct JoinEtcdArgs {}

pub(super) fn join_etcd(_context: &Context, _args: JoinEtcdArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
