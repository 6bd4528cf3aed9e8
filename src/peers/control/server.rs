//! The process's end of its control socket, and of the port for figures.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::message::{OFFERED, Offer, Peers, Process, Records, Verdicts, unbase64};
use super::{SOCKET, metrics};
use crate::clock;
use crate::control::door::{Door, Visitor};
use crate::control::reply::{Reply, body, failure, json, not_allowed, text};
use crate::peers::daemon::command::{Command, Picture};
use crate::root::Root;

/// The largest body: [`OFFERED`] of the largest records in base64.
const BODY_LIMIT: usize = 2 << 20;

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("cannot listen at {SOCKET}: {0}")]
    Socket(#[source] io::Error),
}

/// The socket, and the port if there is one.
#[derive(Debug)]
pub struct Server {
    socket: Door,
    port: Option<Door>,
    since: String,
}

impl Server {
    /// Listens; `metrics`: where Prometheus asks. Where that cannot be, the rest goes on. The caller holds
    /// [`lock::PEERS`](crate::lock::PEERS).
    pub async fn open(root: &Root, metrics: Option<SocketAddr>) -> Result<Self, Error> {
        let mut port = None;
        if let Some(address) = metrics {
            match Door::port(address).await {
                Ok(door) => port = Some(door),
                Err(error) => error!(
                    "cannot listen at {address} for Prometheus: {error}; another program may have it (see `ss -ltnp`): give another one as peers.metrics in the cluster file"
                ),
            }
        }
        Ok(Self {
            socket: Door::bind(root, Path::new(SOCKET)).map_err(Error::Socket)?,
            port,
            since: clock::rfc3339(clock::unix_now()),
        })
    }

    /// Serves until `stop` is dropped; requests in flight are answered first.
    pub async fn serve(self, commands: mpsc::Sender<Command>, stop: oneshot::Receiver<Infallible>) {
        let (close_socket, socket_closed) = oneshot::channel();
        let (close_port, port_closed) = oneshot::channel();
        let (asked, since) = (commands.clone(), self.since);
        let at_socket = move |request, visitor: Visitor| {
            answer(request, visitor.allowed, asked.clone(), since.clone())
        };
        let at_port = move |request, _| figures(request, commands.clone());
        let socket = self.socket.serve(at_socket, socket_closed);
        let port = async {
            if let Some(port) = self.port {
                port.serve(at_port, port_closed).await;
            }
        };
        let close = async {
            // It never says anything; it ends.
            let _ = stop.await;
            drop((close_socket, close_port));
        };
        tokio::join!(socket, port, close);
    }
}

async fn answer(
    request: Request<Incoming>,
    allowed: bool,
    commands: mpsc::Sender<Command>,
    since: String,
) -> Reply {
    if !allowed {
        return failure(StatusCode::FORBIDDEN, "only root may use this socket");
    }
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/v1/peers") => {
            let pid = std::process::id();
            let seen = look(&commands).await;
            shown(seen.map(|picture| Peers::of(&picture, Process { pid, since })))
        }
        (&Method::GET, "/v1/records") => {
            let seen = look(&commands).await;
            shown(seen.map(|picture| Records::of(&picture.ledger, clock::unix_now())))
        }
        (&Method::POST, "/v1/records") => match body(request, BODY_LIMIT).await {
            Ok(offer) => take(offer, &commands).await,
            Err(reply) => reply,
        },
        (_, "/v1/peers") => not_allowed("GET"),
        (_, "/v1/records") => not_allowed("GET, POST"),
        _ => figures(request, commands).await,
    }
}

/// All that a port shows.
async fn figures(request: Request<Incoming>, commands: mpsc::Sender<Command>) -> Reply {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match look(&commands).await {
            Ok(picture) => text(metrics::TYPE, metrics::text(&picture).into_bytes()),
            Err(reply) => reply,
        },
        (_, "/metrics") => not_allowed("GET"),
        (_, path) => failure(StatusCode::NOT_FOUND, &format!("no such path: {path}")),
    }
}

async fn take(offer: Offer, commands: &mpsc::Sender<Command>) -> Reply {
    let refused = |text: String| failure(StatusCode::UNPROCESSABLE_ENTITY, &text);
    let count = offer.records.len();
    if count > OFFERED {
        return refused(format!("{count} records; give {OFFERED} at most at a time"));
    }
    let records: Option<Vec<_>> = offer.records.iter().map(|one| unbase64(one)).collect();
    let Some(records) = records else {
        return refused("a record is no base64; nothing was taken".to_owned());
    };
    let (reply, verdicts) = oneshot::channel();
    if commands
        .send(Command::Offer { records, reply })
        .await
        .is_err()
    {
        return stopping();
    }
    match verdicts.await {
        Ok(verdicts) => {
            let verdicts = verdicts.into_iter().map(Into::into).collect();
            json(StatusCode::OK, &Verdicts { verdicts })
        }
        Err(_) => stopping(),
    }
}

async fn look(commands: &mpsc::Sender<Command>) -> Result<Picture, Reply> {
    let (reply, picture) = oneshot::channel();
    if commands.send(Command::Look(reply)).await.is_err() {
        return Err(stopping());
    }
    picture.await.map_err(|_| stopping())
}

fn shown<T: serde::Serialize>(seen: Result<T, Reply>) -> Reply {
    seen.map_or_else(|reply| reply, |seen| json(StatusCode::OK, &seen))
}

fn stopping() -> Reply {
    let text = "the peers process is stopping";
    failure(StatusCode::SERVICE_UNAVAILABLE, text)
}
