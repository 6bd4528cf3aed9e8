//! `stayput kubeadm config`.

use clap::Args;

use crate::cli::context::{Context, Failure};
use crate::cli::exit;

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {}

pub(super) fn config(_context: &Context, _args: ConfigArgs) -> Result<u8, Failure> {
    Err(Failure::new(exit::UNAVAILABLE, "not there yet"))
}
