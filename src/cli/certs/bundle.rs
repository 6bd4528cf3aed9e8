//! `stayput certs bundle` and `unbundle`: authorities on their way to another master.

use std::io::{IsTerminal, Write};

use crate::cli::context::{Context, Failure};
use crate::cli::exit;
use crate::pki::bundle;
use crate::pki::session::Session;
