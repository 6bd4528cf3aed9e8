//! What every command starts from, and the one type in which all of them fail.

use std::time::Duration;

use super::{Global, exit};
use crate::book::Rejection;
use crate::config::NodeSettings;
use crate::config::node::Selection;
use crate::config::{self, Cluster, Node};
use crate::control::client;
use crate::engine::{Engine, OpenError};
use crate::lock::{self, Lock};
use crate::own;
use crate::report::DoneBy;
use crate::request::Refusal;
use crate::root::Root;
use crate::state;
use crate::surface::routes;
use crate::writer::Writer;

/// Why a command failed, with its exit code. `main` prints it.
#[derive(Debug)]
pub(super) struct Failure {
    /// One of [`exit`].
    pub(super) code: u8,
    /// For a person; may have several lines.
    pub(super) message: String,
}

impl Failure {
    /// A failure with its exit code.
    pub(super) fn new(code: u8, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// What is printed on standard error, in the form that was asked for.
    pub(super) fn text(&self, json: bool) -> String {
        if json {
            let value = serde_json::json!({ "error": self.message, "exitCode": self.code });
            return format!("{value}\n");
        }
        let lines = self.message.lines();
        lines.flat_map(|line| ["stayput: ", line, "\n"]).collect()
    }

    /// Standard output cannot be written. A reader who has seen enough is no failure.
    pub(super) fn output(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(exit::OK, "");
        }
        Self::new(exit::OS_ERROR, format!("cannot write the output: {error}"))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(exit::BAD_DATA, refusal)
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::new(exit::BAD_DATA, rejection)
    }
}

impl From<own::Error> for Failure {
    fn from(error: own::Error) -> Self {
        Self::new(exit::UNAVAILABLE, error)
    }
}

impl From<state::Unreadable> for Failure {
    fn from(unreadable: state::Unreadable) -> Self {
        Self::new(exit::OS_ERROR, unreadable)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::State(unreadable) => unreadable.into(),
            OpenError::Rejected(rejection) => Self::new(exit::CONFIG, rejection),
        }
    }
}

impl From<routes::Error> for Failure {
    fn from(error: routes::Error) -> Self {
        let code = match error {
            routes::Error::Netlink(_) => exit::UNAVAILABLE,
            routes::Error::Troubles(_) => exit::DISAGREES,
        };
        Self::new(code, error)
    }
}

impl From<lock::Error> for Failure {
    fn from(error: lock::Error) -> Self {
        let code = match error {
            lock::Error::Held { .. } => exit::TEMPORARY,
            lock::Error::Io { .. } => exit::OS_ERROR,
        };
        Self::new(code, error)
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::new(exit::CONFIG, error)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let code = match error {
            client::Error::Refused(_) => exit::BAD_DATA,
            client::Error::Stopping(_) | client::Error::Ended(_) => exit::TEMPORARY,
            client::Error::Misunderstood { .. } => exit::SOFTWARE,
            client::Error::Absent(_)
            | client::Error::Unreachable { .. }
            | client::Error::Failed { .. } => exit::UNAVAILABLE,
        };
        Self::new(code, error)
    }
}

/// The global options.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) global: Global,
}

/// How long a command waits for another one that holds the lock.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(10);

impl Context {
    pub(super) fn new(global: Global) -> Self {
        Self { global }
    }

    /// The root folder.
    pub(super) fn root(&self) -> Result<Root, Failure> {
        let path = &self.global.root;
        Root::open(path).map_err(|error| {
            let text = format!("cannot open the root folder {}: {error}", path.display());
            Failure::new(exit::UNAVAILABLE, text)
        })
    }

    /// What the flags say of this node.
    pub(super) fn flags(&self) -> NodeSettings {
        let interface = self.global.own_interface.clone().map(Selection::Interface);
        NodeSettings {
            joins: false,
            name: self.global.node.clone(),
            kubernetes_name: self.global.kubernetes_name.clone(),
            selection: interface.or(self.global.own_cidr.map(Selection::Within)),
        }
    }

    /// The cluster file and the node's part in it.
    pub(super) fn load(&self, root: &Root) -> Result<(Cluster, Node), Failure> {
        let (config, node) = (&self.global.config, &self.global.node_config);
        Ok(config::load(root, config, node, &self.flags())?)
    }

    /// An engine of this command's own, for when no agent runs. It works while the lock is held.
    pub(super) async fn engine(&self, root: &Root, _lock: &Lock) -> Result<Engine, Failure> {
        let (cluster, node) = self.load(root)?;
        let writer = writer()?;
        Ok(Engine::open(root.clone(), writer, DoneBy::Command, cluster, node).await?)
    }
}

/// A thread for file work.
pub(super) fn writer() -> Result<Writer, Failure> {
    let started = Writer::start();
    started.map_err(|error| Failure::new(exit::OS_ERROR, format!("cannot start a thread: {error}")))
}

/// Runs a command's asynchronous part on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(exit::OS_ERROR, format!("cannot start the runtime: {error}"))
        })?;
    let done = runtime.block_on(work);
    // The system's resolver may still hang in a thread that nobody waits for any more.
    runtime.shutdown_background();
    done
}
