//! `stayput kubeadm rescue`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(super) struct RescueArgs {}

pub(super) fn rescue(_context: &Context, _args: RescueArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
