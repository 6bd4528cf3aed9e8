//! `stayput export`.

use super::held;
use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output};
use crate::peers::carry::Export;

pub(super) fn export(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, _) = context.load(&root)?;
    let trust = held::trust(&root, &cluster, None)?;
    let holding = block_on(held::held(&root, &trust))?;
    for notice in &holding.notices {
        eprintln!("stayput: {notice}");
    }
    let export = Export::of(&cluster.domain, &trust.authorities, &holding.ledger);
    // For a machine to read, whatever form was asked for.
    output::print(output::Output::Json, &export, |_| String::new())?;
    Ok(exit::OK)
}
