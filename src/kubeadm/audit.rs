//! Every place that pins an address which can change.

pub mod cluster;
