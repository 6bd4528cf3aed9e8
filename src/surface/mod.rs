//! Where the book is shown.
//!
//! Each surface renders a [`View`](crate::view::View) and makes the outside world equal to it. It
//! writes only what differs and says what it did.

pub mod dns;
pub mod haproxy;
pub mod hosts;
pub mod pods;
pub mod routes;

use serde::{Deserialize, Serialize};

/// What a surface did to show a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Whether anything had to be written.
    pub outcome: Outcome,
    /// One line for people: what was written, where, how.
    pub detail: String,
    /// What an operator should know, one line each: foreign lines that disagree, a fight over the
    /// file, a server that is down.
    pub notices: Vec<String>,
}

/// Whether a surface had to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It already showed the view.
    Unchanged,
    /// It does now.
    Updated,
    /// It is not there (no HAProxy, no pods): nothing to do, and no failure.
    Absent,
}
