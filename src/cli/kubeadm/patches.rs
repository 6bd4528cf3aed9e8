//! `stayput kubeadm patches`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(super) struct PatchesArgs {}

pub(super) fn patches(_context: &Context, _args: PatchesArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
