//! The agent's end of the control socket.
//!
//! Status is answered from a published picture and never waits for work in progress; everything else
//! is handed to the task that owns the book, and answered when that has done it.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::AtFlags;
use rustix::fs::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::SOCKET;
use super::published::Published;
use crate::lock::RUN_FOLDER;
use crate::own;
use crate::report::Report;
use crate::request::{Failure, Look, Provisioned, Records, Refusal, Told};
use crate::root::Root;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 << 10;
/// The same of signed records: 1024 masters with long names and 16 addresses each.
const RECORDS_LIMIT: usize = 2 << 20;
/// How long a client may take to send its request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Those of them that may wait for a change at a time.
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
    listener: UnixListener,
}

impl Server {
    /// Binds the socket, in place of one that an earlier agent left. The caller holds the lock.
    pub fn bind(root: &Root) -> io::Result<Self> {
        root.create_folders(Path::new(RUN_FOLDER), 0o755)?;
        let place = root.resolve(Path::new(SOCKET))?;
        match rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(Root::socket_path(&place))?;
        // Until here a stranger can at most connect; the credentials are checked at every connection.
        rustix::fs::chmodat(
            &place.folder,
            &place.name,
            Mode::from_raw_mode(0o600),
            AtFlags::empty(),
        )?;
        Ok(Self { listener })
    }

    /// Serves until `stop` is dropped. Then nobody is let in any more: who comes finds no agent, and
    /// may do the work itself. Requests in flight are answered first.
    pub async fn serve(
        self,
        orders: mpsc::Sender<Order>,
        published: Published,
        mut stop: oneshot::Receiver<Infallible>,
    ) {
        let listener = self.listener;
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let (closing, closed) = tokio::sync::watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stop => break,
            };
            while connections.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("cannot accept on the control socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                debug!("too many control connections");
                continue;
            };
            let desk = Desk {
                orders: orders.clone(),
                published: published.clone(),
                watchers: watchers.clone(),
                closed: closed.clone(),
            };
            let connection = converse(stream, desk, closed.clone());
            connections.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(listener);
        drop(closing);
        while connections.join_next().await.is_some() {}
    }
}

/// What requests are answered with.
#[derive(Clone)]
struct Desk {
    orders: mpsc::Sender<Order>,
    published: Published,
    watchers: Arc<Semaphore>,
    /// Ends when the server does.
    closed: tokio::sync::watch::Receiver<()>,
}

async fn converse(stream: UnixStream, desk: Desk, mut closed: tokio::sync::watch::Receiver<()>) {
    let allowed = allowed(&stream);
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(request, allowed, desk).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!("control connection: {error}");
    }
}

/// Root, or whoever runs the agent.
fn allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn answer(request: Request<Incoming>, allowed: bool, desk: Desk) -> Response<Full<Bytes>> {
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
async fn watch(query: Option<&str>, mut desk: Desk) -> Response<Full<Bytes>> {
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

fn stopping() -> Response<Full<Bytes>> {
    failure(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping")
}

async fn body<T: DeserializeOwned>(
    request: Request<Incoming>,
    limit: usize,
) -> Result<T, Response<Full<Bytes>>> {
    let limited = Limited::new(request.into_body(), limit);
    let reading = tokio::time::timeout(HEAD_PATIENCE, limited.collect());
    let bytes = match reading.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) => {
            let text = format!("cannot read the body (at most {limit} bytes): {error}");
            return Err(failure(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
        Err(_) => {
            return Err(failure(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive",
            ));
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| failure(StatusCode::BAD_REQUEST, &format!("bad JSON body: {error}")))
}

async fn order(
    command: Result<Command, Response<Full<Bytes>>>,
    orders: &mpsc::Sender<Order>,
) -> Response<Full<Bytes>> {
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

fn failure(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let failure = Failure {
        error: text.to_owned(),
    };
    json(status, &failure)
}

fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allow}"));
    response
        .headers_mut()
        .insert(ALLOW, hyper::header::HeaderValue::from_static(allow));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    // Our own types hold no maps with keys that JSON cannot have.
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    response
}
