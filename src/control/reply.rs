//! What is common to all answers: JSON, a failure in words, and reading what was sent.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::request::Failure;

/// An answer.
pub type Reply = Response<Full<Bytes>>;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a JSON body of at most `limit` bytes; else what to answer.
pub async fn body<T: DeserializeOwned>(
    request: Request<Incoming>,
    limit: usize,
) -> Result<T, Reply> {
    let limited = Limited::new(request.into_body(), limit);
    let reading = tokio::time::timeout(PATIENCE, limited.collect());
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

/// Why not, for a person.
pub fn failure(status: StatusCode, text: &str) -> Reply {
    let failure = Failure {
        error: text.to_owned(),
    };
    json(status, &failure)
}

/// Another method is meant.
pub fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = failure(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allow}"));
    let allow = HeaderValue::from_static(allow);
    reply.headers_mut().insert(ALLOW, allow);
    reply
}

/// A value as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    // Our own types hold no maps with keys that JSON cannot have.
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    let mut reply = text("application/json", bytes);
    *reply.status_mut() = status;
    reply
}

/// A good answer of another type.
pub fn text(kind: &'static str, bytes: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(bytes)));
    let kind = HeaderValue::from_static(kind);
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}
