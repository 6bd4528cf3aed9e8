//! `stayput kubeadm follow`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(super) struct FollowArgs {}

pub(super) fn follow(_context: &Context, _args: FollowArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
