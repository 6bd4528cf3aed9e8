//! A command's end of a control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::SOCKET;
use crate::request::Failure;
use crate::root::Root;

/// Longer than the slowest surface may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Far above a status of ten thousand masters.
const ANSWER_LIMIT: usize = 64 << 20;

/// A process of this node that listens on a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// What people call it, behind "the" and "no".
    pub name: &'static str,
    /// Where its socket lies.
    pub socket: &'static str,
}

/// The agent.
pub const AGENT: Service = Service {
    name: "agent",
    socket: SOCKET,
};

/// Why a service did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens: it does not run.
    #[error("no {} runs on this node", .0.name)]
    Absent(Service),
    /// The socket is there but not usable.
    #[error("cannot reach the {} at {}: {reason}", .service.name, .service.socket)]
    Unreachable {
        /// Who was asked.
        service: Service,
        /// Why not.
        reason: String,
    },
    /// It is ending and has not done it; another one, or the command itself, may.
    #[error("the {} is stopping; try again", .0.name)]
    Stopping(Service),
    /// It ended, or closed the connection, before it answered. It may have done it.
    #[error("the {} ended before it answered; try again", .0.name)]
    Ended(Service),
    /// It refused the request; nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// It could not do it, or does not hear this user.
    #[error("the {} failed: {reason}", .service.name)]
    Failed {
        /// Who was asked.
        service: Service,
        /// Why not.
        reason: String,
    },
    /// It does not understand the request: it is of another version, or something else listens there.
    #[error("the {} does not understand this program ({reason}); is it of another version?", .service.name)]
    Misunderstood {
        /// Who was asked.
        service: Service,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// Whether there is nobody to be asked at this moment.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Stopping(_) | Self::Ended(_))
    }
}

/// Reads from the agent.
pub async fn get<T: DeserializeOwned>(root: &Root, path: &str) -> Result<T, Error> {
    AGENT.get(root, path).await
}

/// Sends a body to the agent and reads its answer.
pub async fn post<T: DeserializeOwned>(
    root: &Root,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Error> {
    AGENT.post(root, path, body).await
}

impl Service {
    /// Reads from it.
    pub async fn get<T: DeserializeOwned>(self, root: &Root, path: &str) -> Result<T, Error> {
        self.get_within(root, path, PATIENCE).await
    }

    /// The same for who has little time.
    pub async fn get_within<T: DeserializeOwned>(
        self,
        root: &Root,
        path: &str,
        patience: Duration,
    ) -> Result<T, Error> {
        self.exchange(root, Method::GET, path, Bytes::new(), patience)
            .await
    }

    /// Sends it a body and reads its answer.
    pub async fn post<T: DeserializeOwned>(
        self,
        root: &Root,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let bytes = serde_json::to_vec(body).map_err(|error| self.unreachable(error))?;
        self.exchange(root, Method::POST, path, Bytes::from(bytes), PATIENCE)
            .await
    }

    async fn exchange<T: DeserializeOwned>(
        self,
        root: &Root,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, Error> {
        let late = || self.unreachable(format!("no answer within {} s", patience.as_secs_f32()));
        let talking =
            async {
                let stream = self.connect(root).await?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .map_err(|error| self.broken(error))?;
                let driver = tokio::spawn(connection);
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", "stayput")
                    .header("content-type", "application/json")
                    .body(Full::new(body))
                    .map_err(|error| self.unreachable(error))?;
                let response = sender
                    .send_request(request)
                    .await
                    .map_err(|error| self.broken(error))?;
                let status = response.status();
                let limited = Limited::new(response.into_body(), ANSWER_LIMIT);
                let body = limited.collect().await.map_err(|error| {
                    match error.downcast::<hyper::Error>() {
                        Ok(error) => self.broken(*error),
                        Err(error) => self.unreachable(error),
                    }
                });
                let bytes = body?.to_bytes();
                driver.abort();
                Ok((status, bytes))
            };
        let talked = tokio::time::timeout(patience, talking).await;
        let (status, bytes) = talked.map_err(|_| late())??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|error| self.unreachable(error));
        }
        let text = serde_json::from_slice::<Failure>(&bytes)
            .map_or_else(|_| format!("status {status}"), |failure| failure.error);
        Err(self.meaning(status, text))
    }

    /// What an answer other than 200 means; docs/control.md lists them.
    fn meaning(self, status: StatusCode, reason: String) -> Error {
        let service = self;
        match status {
            StatusCode::UNPROCESSABLE_ENTITY => Error::Refused(reason),
            StatusCode::SERVICE_UNAVAILABLE => Error::Stopping(service),
            StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR => Error::Failed { service, reason },
            _ => Error::Misunderstood { service, reason },
        }
    }

    /// A connection that ends before the answer does: the service is gone, or going.
    fn broken(self, error: hyper::Error) -> Error {
        use std::error::Error as _;
        let source = error.source().and_then(|it| it.downcast_ref::<io::Error>());
        let reset = source.is_some_and(|source| {
            matches!(
                source.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::UnexpectedEof
            )
        });
        if reset || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            Error::Ended(self)
        } else {
            self.unreachable(error)
        }
    }

    async fn connect(self, root: &Root) -> Result<UnixStream, Error> {
        let place = match root.resolve(Path::new(self.socket)) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Absent(self));
            }
            Err(error) => return Err(self.unreachable(error)),
        };
        match UnixStream::connect(Root::socket_path(&place)).await {
            Ok(stream) => Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Err(Error::Absent(self))
                }
                _ => Err(self.unreachable(error)),
            },
        }
    }

    fn unreachable(self, reason: impl std::fmt::Display) -> Error {
        Error::Unreachable {
            service: self,
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn each_answer_has_its_meaning() {
        let meaning = |code| AGENT.meaning(StatusCode::from_u16(code).unwrap(), "why".into());
        assert!(matches!(meaning(422), Error::Refused(_)));
        assert!(matches!(meaning(503), Error::Stopping(_)));
        for code in [403, 429, 500] {
            assert!(matches!(meaning(code), Error::Failed { .. }), "{code}");
        }
        for code in [302, 400, 404, 405, 408, 413, 418] {
            assert!(
                matches!(meaning(code), Error::Misunderstood { .. }),
                "{code}"
            );
        }
    }

    /// What a command makes of an agent that says `answer` and hangs up.
    async fn asked(answer: &[u8]) -> Error {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let socket = dir.path().join("run/stayput/stayput.sock");
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let answer = answer.to_owned();
        let agent = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            if !answer.is_empty() {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        let said = get::<serde_json::Value>(&root, "/v1/status").await;
        agent.join().unwrap();
        said.unwrap_err()
    }

    #[tokio::test]
    async fn an_agent_that_ends_first_is_absent() {
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\ncontent-",
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        ] {
            let error = asked(answer).await;
            assert!(error.is_absent(), "{answer:?}: {error:?}");
        }
        for answer in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"HTTP/1.1 404 no\r\ncontent-length: 0\r\n\r\n",
        ] {
            let error = asked(answer).await;
            assert!(!error.is_absent(), "{answer:?}: {error:?}");
        }
    }
}
