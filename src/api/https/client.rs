//! One request over one connection.

use std::error::Error as _;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Answer, BODY_LIMIT, Error, Https};

/// How long one of several addresses may take: one at which nobody is must not use up the time of the
/// others.
const CONNECT: Duration = Duration::from_secs(3);

/// A task that ends with this value.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn exchange(
    https: &Https,
    method: Method,
    path: &str,
    body: Option<(&'static str, Vec<u8>)>,
) -> Result<Answer, Error> {
    let unusable = |error: hyper::http::Error| Error::Unusable {
        whom: https.whom.clone(),
        reason: error.to_string(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host(https))
        .header("accept", "application/json")
        .header("user-agent", concat!("stayput/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close");
    if let Some((kind, _)) = &body {
        request = request.header("content-type", *kind);
    }
    let bytes = body.map(|(_, bytes)| bytes).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(bytes)));
    let request = request.map_err(unusable)?;

    let stream = connect(https).await?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(https, &error))?;
    let _driver = Driver(tokio::spawn(async move {
        // Whoever waits for the answer is told.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| broken(https, &error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => broken(https, &error),
        Err(error) if error.is::<LengthLimitError>() => Error::TooLarge(https.whom.clone()),
        Err(error) => Error::Broken {
            whom: https.whom.clone(),
            reason: error.to_string(),
        },
    })?;
    let body = body.to_bytes();
    Ok(Answer { status, body })
}

/// `Host` (RFC 9110, 7.2): brackets around an IPv6 address.
fn host(https: &Https) -> String {
    let port = https.place.port;
    match https.place.names.first() {
        Some(name) if name.contains(':') => format!("[{name}]:{port}"),
        Some(name) => format!("{name}:{port}"),
        None => String::new(),
    }
}

/// The first address that takes the connection and proves to be the server.
async fn connect(https: &Https) -> Result<TlsStream<TcpStream>, Error> {
    let mut reasons = Vec::new();
    let addresses = match &https.place.addresses[..] {
        [] => look_up(https).await?,
        given => given.to_vec(),
    };
    for address in &addresses {
        let limit = match addresses.len() {
            1 => https.limit,
            _ => CONNECT.min(https.limit),
        };
        let shaken = tokio::time::timeout(limit, handshake(https, *address)).await;
        match shaken {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => reasons.push(format!("{address}: {error}")),
            Err(_) => reasons.push(format!("{address}: no answer within {} s", limit.as_secs())),
        }
    }
    Err(Error::Unreachable {
        whom: https.whom.clone(),
        reasons: reasons.join("; "),
    })
}

async fn look_up(https: &Https) -> Result<Vec<SocketAddr>, Error> {
    let name = https.place.names.first().map_or("", String::as_str);
    let unreachable = |reasons: String| Error::Unreachable {
        whom: https.whom.clone(),
        reasons,
    };
    let found = tokio::net::lookup_host((name, https.place.port)).await;
    let found: Vec<_> = found
        .map_err(|error| unreachable(format!("cannot look up {name}: {error}")))?
        .collect();
    if found.is_empty() {
        return Err(unreachable(format!("{name} has no address")));
    }
    Ok(found)
}

async fn handshake(https: &Https, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // Small requests and answers, each waited for.
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(https.config.clone());
    connector.connect(https.server.clone(), stream).await
}

/// A connection that ends before the answer does. The libraries' own words say nothing without those
/// of what caused them.
fn broken(https: &Https, error: &hyper::Error) -> Error {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let texts = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    Error::Broken {
        whom: https.whom.clone(),
        reason: texts.collect::<Vec<_>>().join(": "),
    }
}
