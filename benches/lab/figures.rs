//! From measurements to figures, and to a table that Markdown takes as it is.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// Measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, measurement: Duration) {
        let place = self.0.partition_point(|known| *known <= measurement);
        self.0.insert(place, measurement);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn min(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The nearest-rank percentile: the smallest measurement that so many of a hundred do not
    /// exceed.
    pub(crate) fn percentile(&self, of_a_hundred: usize) -> Duration {
        let rank = (self.0.len() * of_a_hundred).div_ceil(100);
        let place = rank.saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

/// How many times as long.
pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

pub(crate) fn microseconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes with two decimals")]
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 20))
}

/// A table; all columns but the first hold numbers.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
