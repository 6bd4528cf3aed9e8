//! What a transport is started with.

use std::net::IpAddr;

use super::known::Contact;
use super::limits::Limits;
use crate::name::Name;
use crate::root::Root;
use crate::writer::Writer;

/// What a transport is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where certificates and authority are looked up.
    pub root: Root,
    /// The thread that reads them.
    pub writer: Writer,
    /// The cluster's domain.
    pub domain: Name,
    /// The port at which others find this node; 0 for any that is free.
    pub port: u16,
    /// The addresses at which it listens; all, where there are none.
    pub listen: Vec<IpAddr>,
    /// Who was met in the last run.
    pub known: Vec<Contact>,
    /// How much anybody may take.
    pub limits: Limits,
}
