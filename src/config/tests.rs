//! What an operator sees: files, and the exact problems told about them.

use std::path::Path;

use proptest::prelude::*;

use super::Cluster;
use super::cluster::HostsMode;
use crate::address::Loopback;

/// The problems of a cluster file on a node, one line each, without the file's name.
fn problems(text: &str) -> Vec<String> {
    match Cluster::parse(text, Path::new("F"), Loopback::Refused) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .to_string()
            .lines()
            .map(|line| line.trim_start_matches("F:").to_owned())
            .collect(),
    }
}

/// A good file of four lines with more lines behind them: line 5 is the first of `more`.
fn with(more: &str) -> String {
    format!(
        "domain: prod.k8s.internal\nendpoint: {{name: api}}\nmasters:\n  - {{name: m1, address: 10.0.0.1}}\n{more}"
    )
}
