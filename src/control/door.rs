//! Where others come in: a Unix socket for root, or a loopback port for everybody on the machine.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{AtFlags, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::reply::Reply;
use crate::lock::RUN_FOLDER;
use crate::root::Root;

/// How long a client may take to send its request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// How long a connection to a port may last: anybody on the machine can make one, and forget it.
const VISIT: Duration = Duration::from_secs(30);

/// Who comes in.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Root, or whoever runs this process; at a port everybody.
    pub allowed: bool,
    /// Ends when the door is being closed: who waits for something is let go.
    pub closed: watch::Receiver<()>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Door {
    /// For root.
    Unix(UnixListener),
    /// For everybody who reaches it.
    Port(TcpListener),
}

impl Door {
    /// Binds a Unix socket, in place of one that an earlier process left: the caller holds a lock. It is
    /// 0600, and the credentials of who connects are checked as well (unix(7), `SO_PEERCRED`).
    pub fn bind(root: &Root, path: &Path) -> io::Result<Self> {
        root.create_folders(Path::new(RUN_FOLDER), 0o755)?;
        let place = root.resolve(path)?;
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
        Ok(Self::Unix(listener))
    }

    /// Binds a TCP port of one address.
    pub async fn port(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Port(TcpListener::bind(address).await?))
    }

    /// Serves until `stop` is dropped. Then nobody is let in any more, and requests in flight are answered.
    pub async fn serve<A, F>(self, answer: A, mut stop: oneshot::Receiver<Infallible>)
    where
        A: Fn(Request<Incoming>, Visitor) -> F + Clone + Send + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let (closing, closed) = watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                _ = &mut stop => break,
            };
            while connections.try_join_next().is_some() {}
            let accepted = match accepted {
                Ok(accepted) => accepted,
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
            let (answer, closed) = (answer.clone(), closed.clone());
            connections.spawn(async move {
                accepted.converse(answer, closed).await;
                drop(permit);
            });
        }
        drop(self);
        drop(closing);
        while connections.join_next().await.is_some() {}
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
            Self::Port(listener) => Accepted::Port(listener.accept().await?.0),
        })
    }
}

/// One that has come in.
enum Accepted {
    Unix(UnixStream),
    Port(tokio::net::TcpStream),
}

impl Accepted {
    async fn converse<A, F>(self, answer: A, closed: watch::Receiver<()>)
    where
        A: Fn(Request<Incoming>, Visitor) -> F,
        F: Future<Output = Reply>,
    {
        match self {
            Self::Unix(stream) => {
                let allowed = allowed(&stream);
                converse(stream, answer, Visitor { allowed, closed }).await;
            }
            Self::Port(stream) => {
                let allowed = true;
                let visit = converse(stream, answer, Visitor { allowed, closed });
                // One that stays longer is cut off, in whatever it is.
                let _ = tokio::time::timeout(VISIT, visit).await;
            }
        }
    }
}

async fn converse<S, A, F>(stream: S, answer: A, visitor: Visitor)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>, Visitor) -> F,
    F: Future<Output = Reply>,
{
    let mut closed = visitor.closed.clone();
    let service = service_fn(move |request| {
        let answered = answer(request, visitor.clone());
        async move { Ok::<_, Infallible>(answered.await) }
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

/// Root, or whoever runs this process.
fn allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
