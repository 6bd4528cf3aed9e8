//! `stayput certs`: everything that a kubeadm control plane is issued.

mod carry;
mod holding;
mod init;
mod renew;
mod status;
mod verify;
mod words;

use clap::Subcommand;

use super::context::{Context, Failure};
use super::exit;
use crate::pki::{bundle, moment, session, store};

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    /// Issue every certificate and kubeconfig that is missing
    ///
    /// Authorities and service-account keys are made with --new-cluster only. Without it they have to
    /// be there: bring them from another master with `certs bundle` and `certs unbundle`. Files that
    /// are there stay as they are, whoever made them. Static pods that run already and use what was
    /// missing are restarted.
    Init(init::InitArgs),
    /// Renew what is due
    ///
    /// A certificate is due `certificates.renewBefore` before its end (30 days; never earlier than in
    /// the second half of its life). A new one keeps subject, usages and names; names that the cluster
    /// file asks for are added. The pair by which this master speaks to nodes is issued where it is
    /// missing. What needs a restart to take it is restarted afterwards, and what of that
    /// an earlier run has left undone is done too.
    Renew(renew::RenewArgs),
    /// Show every certificate: names, authority, when it expires, what is wrong with it, who reloads it
    ///
    /// Exit code 1 if something needs attention, such as what an earlier run has left undone.
    Status,
    /// Check chains, pairs, names, modes and kubeconfigs against the cluster file
    ///
    /// Exit code 1 if something is wrong.
    Verify(verify::VerifyArgs),
    /// Write the authorities and service-account keys as a tar to standard output
    ///
    /// What another master needs: stayput certs bundle | ssh master-2 stayput certs unbundle. It
    /// holds private keys; it is not written to a terminal.
    Bundle,
    /// Take authorities and service-account keys from a tar on standard input
    ///
    /// Refuses to overwrite a different one: then nothing changes at all.
    Unbundle,
}

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Self {
        use session::Error;
        if is_denied(&error) {
            return Self::new(exit::OS_ERROR, format!("{error}; run this as root"));
        }
        match error {
            Error::Lock(error) => error.into(),
            Error::Catalogue(error) => Self::new(exit::CONFIG, error),
            Error::NotMaster { .. }
            | Error::Unknown { .. }
            | Error::NotThere(_)
            | Error::Bundle(_) => Self::new(exit::BAD_DATA, error),
            Error::Clock(_) | Error::Prepare(_) => Self::new(exit::UNAVAILABLE, error),
            Error::Moment(_) | Error::Store(_) | Error::Owed(_) | Error::After(_) => {
                Self::new(exit::OS_ERROR, error)
            }
        }
    }
}

/// Whether somebody without the right to has tried it.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let sources = std::iter::successors(Some(error), |error| error.source());
    let mut kinds = sources.filter_map(|error| error.downcast_ref::<std::io::Error>());
    let mine = rustix::process::geteuid().is_root();
    !mine && kinds.any(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

impl From<moment::Error> for Failure {
    fn from(error: moment::Error) -> Self {
        session::Error::from(error).into()
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        session::Error::from(error).into()
    }
}

impl From<bundle::Error> for Failure {
    fn from(error: bundle::Error) -> Self {
        session::Error::from(error).into()
    }
}

pub(super) fn certs(context: &Context, command: CertsCommand) -> Result<u8, Failure> {
    match command {
        CertsCommand::Init(args) => init::init(context, args),
        CertsCommand::Renew(args) => renew::renew(context, args),
        CertsCommand::Status => status::status(context),
        CertsCommand::Verify(args) => verify::verify(context, args),
        CertsCommand::Bundle => carry::bundle(context),
        CertsCommand::Unbundle => carry::unbundle(context),
    }
}
