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
    /// The agent refused the request; nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// The agent could not do it.
    #[error("the agent failed: {0}")]
    Failed(String),
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
            .map_err(unreachable)?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "stayput")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(unreachable)?;
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status();
        let limited = Limited::new(response.into_body(), ANSWER_LIMIT);
        let bytes = limited.collect().await.map_err(unreachable)?.to_bytes();
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
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        Err(Error::Refused(text))
    } else {
        Err(Error::Failed(text))
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
