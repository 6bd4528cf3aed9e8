//! `stayput certs bundle` and `unbundle`: authorities on their way to another master.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use serde::Serialize;

use super::holding::holding;
use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::pki::bundle::{Bundle, Pair};
use crate::pki::moment::Moment;
use crate::pki::session::{Session, on_master};

/// What `unbundle` has written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    written: Vec<PathBuf>,
}

pub(super) fn bundle(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let pairs = Pair::shared(&on_master(&cluster, &node)?);
    let bundle = Bundle::collect(&root, pairs)?;
    bundle.check(Moment::read(&root, false)?.judged())?;
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        let text = "the bundle holds private keys and is not shown on a terminal; pipe it: stayput certs bundle | ssh MASTER stayput certs unbundle";
        return Err(Failure::new(exit::USAGE, text));
    }
    warn_of_missing_keys(&bundle);
    bundle.write(stdout.lock())?;
    Ok(exit::OK)
}

pub(super) fn unbundle(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let text = "the bundle is read from standard input: ssh MASTER stayput certs bundle | stayput certs unbundle";
        return Err(Failure::new(exit::USAGE, text));
    }
    let pairs = Pair::shared(&on_master(&cluster, &node)?);
    let bundle = Bundle::read(stdin.lock(), pairs)?;
    bundle.check(Moment::read(&root, false)?.judged())?;
    let written = holding(&root, |hold| {
        Ok(Session::open(hold, &cluster, &node)?.unbundle(&bundle)?)
    })?;
    warn_of_missing_keys(&bundle);
    output::print(context.global.output, &Taken { written }, text)?;
    Ok(exit::OK)
}

fn text(taken: &Taken) -> String {
    let mut text = String::new();
    for path in &taken.written {
        let _ = writeln!(text, "wrote {}", path.display());
    }
    if taken.written.is_empty() {
        text.push_str("nothing to do: this machine has all of it\n");
    }
    text
}

fn warn_of_missing_keys(bundle: &Bundle) {
    for name in bundle.keyless() {
        eprintln!(
            "stayput: {name} goes without its key, which is not on this machine; what it signs has to be issued elsewhere"
        );
    }
}
