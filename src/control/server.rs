//! The agent's end of the control socket.
//!
//! Status is answered from a published picture and never waits for work in progress; everything else
//! is handed to the task that owns the book, and answered when that has done it.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::SOCKET;
use super::door::{Door, Visitor};
use super::published::Published;
use super::reply::{Reply, body, failure, json, not_allowed};
use crate::own;
use crate::report::Report;
use crate::request::{Look, Provisioned, Records, Refusal, Told};
use crate::root::Root;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 << 10;
/// The same of signed records: 1024 masters with long names and 16 addresses each.
const RECORDS_LIMIT: usize = 2 << 20;
/// Connections that may wait for a change at a time.
const WATCHERS: usize = 8;

/// Work for the task that owns the book.
#[derive(Debug)]
pub enum Command {
    /// A master has moved.
    Told(Told),
    /// This node's own address may have changed.
    Look(Look),
    /// This master is complete, or no longer.
    Provisioned(Provisioned),
    /// What signed records say has changed, or is said again.
    Recorded(Records),
    /// Read the cluster file again.
    Reload,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's words; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The files; the old ones stay in force.
    #[error("{0}")]
    Configuration(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<own::Error> for Error {
    fn from(error: own::Error) -> Self {
        match error {
            own::Error::Rejected(rejection) => Self::Refused(rejection.into()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A command and where its answer goes.
pub type Order = (Command, oneshot::Sender<Result<Report, Error>>);

/// The listening socket.
#[derive(Debug)]
pub struct Server {
    door: Door,
}

impl Server {
    /// Binds the socket, in place of one that an earlier agent left. The caller holds the lock.
    pub fn bind(root: &Root) -> io::Result<Self> {
        let door = Door::bind(root, Path::new(SOCKET))?;
        Ok(Self { door })
    }

    /// Serves until `stop` is dropped. Then nobody is let in any more: who comes finds no agent, and
    /// may do the work itself. Requests in flight are answered first.
    pub async fn serve(
        self,
        orders: mpsc::Sender<Order>,
        published: Published,
        stop: oneshot::Receiver<Infallible>,
    ) {
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        let answer = move |request, visitor: Visitor| {
            let desk = Desk {
                orders: orders.clone(),
                published: published.clone(),
                watchers: watchers.clone(),
                closed: visitor.closed,
            };
            answer(request, visitor.allowed, desk)
        };
        self.door.serve(answer, stop).await;
    }
}

/// What requests are answered with.
#[derive(Clone)]
struct Desk {
    orders: mpsc::Sender<Order>,
    published: Published,
    watchers: Arc<Semaphore>,
    /// Ends when the server does.
    closed: watch::Receiver<()>,
}

async fn answer(request: Request<Incoming>, allowed: bool, desk: Desk) -> Reply {
    let orders = &desk.orders;
    if !allowed {
        return failure(StatusCode::FORBIDDEN, "only root may use this socket");
    }
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/v1/status") => json(StatusCode::OK, &**desk.published.status()),
        (&Method::GET, "/v1/watch") => watch(request.uri().query(), desk).await,
        (&Method::POST, "/v1/event") => {
            order(body(request, BODY_LIMIT).await.map(Command::Told), orders).await
        }
        (&Method::POST, "/v1/interface") => {
            order(body(request, BODY_LIMIT).await.map(Command::Look), orders).await
        }
        (&Method::POST, "/v1/provisioned") => {
            let wish = body(request, BODY_LIMIT).await;
            order(wish.map(Command::Provisioned), orders).await
        }
        (&Method::POST, "/v1/records") => {
            let records = body(request, RECORDS_LIMIT).await;
            order(records.map(Command::Recorded), orders).await
        }
        (&Method::POST, "/v1/reload") => order(Ok(Command::Reload), orders).await,
        (_, "/v1/status" | "/v1/watch") => not_allowed("GET"),
        (_, "/v1/event" | "/v1/interface" | "/v1/provisioned" | "/v1/records" | "/v1/reload") => {
            not_allowed("POST")
        }
        _ => failure(StatusCode::NOT_FOUND, &format!("no such path: {path}")),
    }
}

/// Waits for another generation than the one that the caller knows. Who waits holds nobody else up, and
/// is let go when the agent stops.
async fn watch(query: Option<&str>, mut desk: Desk) -> Reply {
    let known = match query.map(|query| query.strip_prefix("generation=").map(str::parse)) {
        None => None,
        Some(Some(Ok(known))) => Some(known),
        Some(_) => {
            let text = "write the generation that is known, as in /v1/watch?generation=1764000000";
            return failure(StatusCode::BAD_REQUEST, text);
        }
    };
    let Ok(_permit) = desk.watchers.try_acquire() else {
        let text = format!("{WATCHERS} others wait already; try again later");
        return failure(StatusCode::TOO_MANY_REQUESTS, &text);
    };
    tokio::select! {
        watched = desk.published.watch(known) => json(StatusCode::OK, &watched),
        _ = desk.closed.changed() => stopping(),
    }
}

fn stopping() -> Reply {
    failure(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping")
}

async fn order(command: Result<Command, Reply>, orders: &mpsc::Sender<Order>) -> Reply {
    let command = match command {
        Ok(command) => command,
        Err(response) => return response,
    };
    let (reply, outcome) = oneshot::channel();
    if orders.send((command, reply)).await.is_err() {
        return stopping();
    }
    match outcome.await {
        Ok(Ok(report)) => json(StatusCode::OK, &report),
        Ok(Err(error @ (Error::Refused(_) | Error::Configuration(_)))) => {
            failure(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
        }
        Ok(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(_) => stopping(),
    }
}
