//! `stayput certs status`.

use serde::Serialize;
use std::fmt::Write;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::pki::health::{Health, health};
use crate::pki::inventory;
use crate::pki::moment::Moment;
use crate::pki::session::on_master;
use crate::pki::store::Store;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    attention: bool,
    certificates: Vec<Health>,
    notices: Vec<String>,
}
