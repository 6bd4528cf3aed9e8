//! Masters tell all nodes where they are, in signed records that anybody may pass on.
//!
//! A [`statement`] is what is said of a master: where it is, that it was removed, that a new machine takes
//! its name. A [`record`] is a statement with its signer's certificate and signature, as bytes that stay as
//! they are on their way.

pub mod record;
pub mod statement;
pub mod transport;
