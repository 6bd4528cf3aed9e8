//! `stayput kubeadm unpin`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(super) struct UnpinArgs {}

pub(super) fn unpin(_context: &Context, _args: UnpinArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
