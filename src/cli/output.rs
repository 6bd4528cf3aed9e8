//! Tables for people, JSON for machines, the log for both.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use super::{Color, Failure};

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// For machines; stable, see docs/json.md
    Json,
}

/// Prints a value in the form that was asked for.
pub(super) fn print<T: Serialize>(
    output: Output,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = match output {
        Output::Table => text(value),
        Output::Json => {
            let json = serde_json::to_string_pretty(value);
            json.map_err(|error| Failure::output(error.into()))? + "\n"
        }
    };
    write(text.as_bytes())
}

/// Writes to standard output.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Failure::output)
}

/// A table without lines, as kubectl prints them.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.map(Cell::new));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Addresses in a table's cell.
pub(super) fn addresses(list: &[std::net::IpAddr]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// Starts the log on standard error. The journal adds times itself.
pub(super) fn start_log(verbose: u8, color: Color, agent: bool) {
    let level = match (agent, verbose) {
        // What a command has to say stands in what it prints.
        (false, 0) => Level::ERROR,
        (true, 0) => Level::INFO,
        (_, 1) => Level::DEBUG,
        _ => Level::TRACE,
    };
    let ansi = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(ansi);
    // What libraries say is for who looks for a fault in them.
    let libraries = if verbose > 1 {
        level
    } else {
        level.min(Level::WARN)
    };
    let targets = Targets::new()
        .with_target("stayput", level)
        .with_default(libraries);
    // A second start in the same process keeps the first one's log.
    let _ = if journal || !agent {
        tracing::subscriber::set_global_default(log.without_time().finish().with(targets))
    } else {
        tracing::subscriber::set_global_default(log.finish().with(targets))
    };
}
