//! `stayput run`.

use std::ffi::OsString;

use clap::Args;

use super::context::{Context, Failure, block_on};
use super::exit;
use crate::agent::{self, Renewal, Settings};
use crate::config::node::Selection;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Renew certificates too, once a day, where no timer does (see stayput-renew.timer)
    #[arg(long)]
    renew: bool,
}

pub(super) fn run(context: &Context, args: &RunArgs) -> Result<u8, Failure> {
    let settings = Settings {
        root: context.root()?,
        config: context.global.config.clone(),
        node_config: context.global.node_config.clone(),
        flags: context.flags(),
        renewal: args.renew.then(|| renewal(context)).transpose()?,
    };
    block_on(async { Ok(agent::run(settings).await?) })?;
    Ok(exit::OK)
}

/// This program with the options that it was started with. They are spelled out: a program that the
/// agent starts has an empty environment and works in `/`.
fn renewal(context: &Context) -> Result<Renewal, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        let text = format!("cannot tell where this program lies: {error}");
        Failure::new(exit::OS_ERROR, text)
    })?;
    let global = &context.global;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    option("--root", context.root()?.path().into());
    option("--config", (&global.config).into());
    option("--node-config", (&global.node_config).into());
    let flags = context.flags();
    for (name, value) in [
        ("--node", flags.name),
        ("--kubernetes-name", flags.kubernetes_name),
    ] {
        if let Some(value) = value {
            option(name, value.to_string().into());
        }
    }
    match flags.selection {
        Some(Selection::Interface(interface)) => option("--own-interface", interface.into()),
        Some(Selection::Within(range)) => option("--own-cidr", range.to_string().into()),
        Some(Selection::DefaultRoute) | None => {}
    }
    arguments.extend(["certs", "renew", "--unattended"].map(OsString::from));
    Ok(Renewal { program, arguments })
}

impl From<agent::Error> for Failure {
    fn from(error: agent::Error) -> Self {
        match error {
            agent::Error::Configuration(error) => error.into(),
            agent::Error::Lock(error) => error.into(),
            agent::Error::Open(error) => error.into(),
            agent::Error::Os { .. } | agent::Error::Renewal(_) => Self::new(exit::OS_ERROR, error),
        }
    }
}
