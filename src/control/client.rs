//! A command's end of the control socket.

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

/// Why the agent did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens: no agent runs.
    #[error("no agent runs on this node")]
    NoAgent,
    /// The socket is there but not usable.
    #[error("cannot reach the agent at {SOCKET}: {0}")]
    Unreachable(String),
    /// The agent is ending and has not done it; another one, or the command itself, may.
    #[error("the agent is stopping; try again")]
    Stopping,
    /// The agent ended, or closed the connection, before it answered. It may have done it.
    #[error("the agent ended before it answered; try again")]
    Ended,
    /// The agent refused the request; nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// The agent could not do it, or does not hear this user.
    #[error("the agent failed: {0}")]
    Failed(String),
    /// The agent does not understand the request: it is of another version, or something else
    /// listens there.
    #[error("the agent does not understand this program ({0}); is it of another version?")]
    Misunderstood(String),
}

impl Error {
    /// Whether there is no agent to be asked at this moment.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NoAgent | Self::Stopping | Self::Ended)
    }
}

/// Reads from the agent.
pub async fn get<T: DeserializeOwned>(root: &Root, path: &str) -> Result<T, Error> {
    exchange(root, Method::GET, path, Bytes::new()).await
}

/// Sends a body to the agent and reads its answer.
pub async fn post<T: DeserializeOwned>(
    root: &Root,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Error> {
    let bytes = serde_json::to_vec(body).map_err(unreachable)?;
    exchange(root, Method::POST, path, Bytes::from(bytes)).await
}

async fn exchange<T: DeserializeOwned>(
    root: &Root,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, Error> {
    let stream = connect(root).await?;
    let talking = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "stayput")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(unreachable)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let limited = Limited::new(response.into_body(), ANSWER_LIMIT);
        let body =
            limited
                .collect()
                .await
                .map_err(|error| match error.downcast::<hyper::Error>() {
                    Ok(error) => broken(*error),
                    Err(error) => unreachable(error),
                });
        let bytes = body?.to_bytes();
        driver.abort();
        Ok((status, bytes))
    };
    let (status, bytes) = tokio::time::timeout(PATIENCE, talking)
        .await
        .map_err(|_| Error::Unreachable(format!("no answer within {} s", PATIENCE.as_secs())))??;
    if status == StatusCode::OK {
        return serde_json::from_slice(&bytes).map_err(unreachable);
    }
    let text = serde_json::from_slice::<Failure>(&bytes)
        .map_or_else(|_| format!("status {status}"), |failure| failure.error);
    Err(meaning(status, text))
}

/// What an answer other than 200 means; docs/control.md lists them.
fn meaning(status: StatusCode, text: String) -> Error {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => Error::Refused(text),
        StatusCode::SERVICE_UNAVAILABLE => Error::Stopping,
        StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::INTERNAL_SERVER_ERROR => Error::Failed(text),
        _ => Error::Misunderstood(text),
    }
}

/// A connection that ends before the answer does: the agent is gone, or going.
fn broken(error: hyper::Error) -> Error {
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
        Error::Ended
    } else {
        unreachable(error)
    }
}

async fn connect(root: &Root) -> Result<UnixStream, Error> {
    let place = match root.resolve(Path::new(SOCKET)) {
        Ok(place) => place,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoAgent),
        Err(error) => return Err(unreachable(error)),
    };
    match UnixStream::connect(Root::socket_path(&place)).await {
        Ok(stream) => Ok(stream),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Err(Error::NoAgent),
            _ => Err(unreachable(error)),
        },
    }
}

fn unreachable(error: impl std::fmt::Display) -> Error {
    Error::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn each_answer_has_its_meaning() {
        let meaning = |code| meaning(StatusCode::from_u16(code).unwrap(), "why".into());
        assert!(matches!(meaning(422), Error::Refused(_)));
        assert!(matches!(meaning(503), Error::Stopping));
        for code in [403, 429, 500] {
            assert!(matches!(meaning(code), Error::Failed(_)), "{code}");
        }
        for code in [302, 400, 404, 405, 408, 413, 418] {
            assert!(matches!(meaning(code), Error::Misunderstood(_)), "{code}");
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
