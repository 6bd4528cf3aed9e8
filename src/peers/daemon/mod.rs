//! `stayput peers run`: ties records, gossip and transport together.

pub mod command;
