//! `stayput run`.

use super::context::{Context, Failure, block_on};
use super::exit;
use crate::agent::{self, Settings};

pub(super) fn run(context: &Context) -> Result<u8, Failure> {
    let settings = Settings {
        root: context.root()?,
        config: context.global.config.clone(),
        node_config: context.global.node_config.clone(),
        flags: context.flags(),
    };
    block_on(async { Ok(agent::run(settings).await?) })?;
    Ok(exit::OK)
}

impl From<agent::Error> for Failure {
    fn from(error: agent::Error) -> Self {
        match error {
            agent::Error::Configuration(error) => error.into(),
            agent::Error::Lock(error) => error.into(),
            agent::Error::Open(error) => error.into(),
            agent::Error::Os { .. } => Self::new(exit::OS_ERROR, error),
        }
    }
}
