//! `stayput peers run`.

use clap::Args;

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::exit;
use crate::peers::daemon::{self, Error, Settings};

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {}

pub(super) fn run(context: &Context, _args: RunArgs) -> Result<u8, Failure> {
    let settings = Settings {
        root: context.root()?,
        config: context.global.config.clone(),
        node_config: context.global.node_config.clone(),
        flags: context.flags(),
    };
    block_on(async { Ok(daemon::run(settings).await?) })?;
    Ok(exit::OK)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Configuration(error) => error.into(),
            Error::Lock(error) => error.into(),
            other => Self::new(exit::OS_ERROR, other),
        }
    }
}
