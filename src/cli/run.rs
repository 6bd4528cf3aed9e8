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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn arguments(line: &[&str]) -> Vec<String> {
        let cli = Cli::parse_from([&["stayput"], line].concat());
        let renewal = renewal(&Context::new(cli.global)).unwrap();
        assert!(renewal.program.is_absolute());
        let text = |argument: OsString| argument.into_string().unwrap();
        renewal.arguments.into_iter().map(text).collect()
    }

    #[test]
    fn a_run_is_told_what_the_agent_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let root = root.to_str().unwrap();
        let files = [
            "--config",
            "/etc/c.yaml",
            "--node-config",
            "/etc/stayput/node.yaml",
        ];
        let line = ["run", "--renew", "--root", root, "--config", "/etc/c.yaml"];
        let certs = ["certs", "renew", "--unattended"];
        let plain = [&["--root", root], &files[..], &certs].concat();
        assert_eq!(arguments(&line), plain);
        for node in [
            &["--node", "master-1", "--own-cidr", "10.0.0.0/8"][..],
            &["--kubernetes-name", "m1", "--own-interface", "eth0"],
        ] {
            let all = [&["--root", root], &files[..], node, &certs].concat();
            assert_eq!(arguments(&[&line[..], node].concat()), all);
        }
    }
}
