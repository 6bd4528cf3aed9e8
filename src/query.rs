//! Asks one DNS server one question, as `check` and `resolve` do.
//!
//! Over UDP first, three times within the time given, then over TCP where the reply is truncated
//! (RFC 1035 section 4.2, RFC 7766 section 5). Only a reply to our own question counts: its id and
//! its question must match, and the socket is connected, so that the kernel drops what comes from
//! elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_server::proto::ProtoError;
use hickory_server::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RData, RecordType};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How often a question is sent over UDP.
const ATTEMPTS: u32 = 3;
/// The largest reply over UDP that we ask for: it is not fragmented (DNS Flag Day 2020).
const MAX_PAYLOAD: u16 = 1232;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// The names of an address; ask with [`reverse`].
    #[serde(rename = "PTR")]
    Ptr,
    /// The start of authority, whose serial is the book's generation.
    #[serde(rename = "SOA")]
    Soa,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The response code, as dig writes it: `NOERROR`, `NXDOMAIN`, `REFUSED`, …
    pub code: String,
    /// Whether the server is an authority for the name.
    pub authoritative: bool,
    /// A and AAAA records, in the order of the reply.
    pub addresses: Vec<IpAddr>,
    /// Targets of CNAME and PTR records, in that order, without the final dot.
    pub names: Vec<String>,
    /// Of a SOA record, in the answer or beside a negative one.
    pub serial: Option<u32>,
    /// The lowest of the answer, in seconds.
    pub ttl: Option<u32>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name that can be asked for.
    #[error("'{0}' is not a domain name; write labels of at most 63 characters joined by dots")]
    Name(String),
    /// No packet of the server reached us in time.
    #[error("{server} does not answer within {within:?}; is it listening?")]
    Silent {
        /// The server.
        server: SocketAddr,
        /// All attempts together.
        within: Duration,
    },
    /// A socket failed; a closed port is met here.
    #[error("cannot ask {server} over {transport}: {source}")]
    Io {
        /// The server.
        server: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The question could not be encoded.
    #[error("cannot encode the question: {0}")]
    Encode(#[from] ProtoError),
}

/// The reverse name of an address, to be asked for [`Wanted::Ptr`].
pub fn reverse(address: IpAddr) -> String {
    Name::from(address).to_ascii()
}

/// Asks `server` for one name and type. `within` bounds all attempts together.
pub async fn ask(
    server: SocketAddr,
    name: &str,
    wanted: Wanted,
    within: Duration,
) -> Result<Reply, Error> {
    let question = question(name, wanted)?;
    let work = async {
        let failed = |transport| {
            move |source| Error::Io {
                server,
                transport,
                source,
            }
        };
        let pause = within / ATTEMPTS;
        let reply = over_udp(server, &question, pause)
            .await
            .map_err(failed("udp"))?;
        if reply.truncation {
            return over_tcp(server, &question).await.map_err(failed("tcp"));
        }
        Ok(reply)
    };
    let reply = timeout(within, work)
        .await
        .map_err(|_| Error::Silent { server, within })??;
    Ok(read(&reply))
}

/// Asks `server` for all addresses of a name: A, then AAAA.
pub async fn addresses(
    server: SocketAddr,
    name: &str,
    within: Duration,
) -> Result<Vec<IpAddr>, Error> {
    let (v4, v6) = tokio::join!(
        ask(server, name, Wanted::A, within),
        ask(server, name, Wanted::Aaaa, within)
    );
    let mut addresses = v4?.addresses;
    addresses.extend(v6?.addresses);
    Ok(addresses)
}

fn question(name: &str, wanted: Wanted) -> Result<Message, Error> {
    let absolute = format!("{}.", name.strip_suffix('.').unwrap_or(name));
    let name = Name::from_ascii(absolute).map_err(|_| Error::Name(name.to_owned()))?;
    let wanted = match wanted {
        Wanted::A => RecordType::A,
        Wanted::Aaaa => RecordType::AAAA,
        Wanted::Ptr => RecordType::PTR,
        Wanted::Soa => RecordType::SOA,
    };
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_PAYLOAD);
    // `query` draws a random id.
    let mut message = Message::query();
    message.add_query(Query::query(name, wanted)).set_edns(edns);
    Ok(message)
}

/// Sends the question up to [`ATTEMPTS`] times, `pause` apart, until its reply comes. The caller
/// bounds it.
async fn over_udp(server: SocketAddr, question: &Message, pause: Duration) -> io::Result<Message> {
    let local = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    let request = question.to_vec().map_err(io::Error::other)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..ATTEMPTS {
        socket.send(&request).await?;
        let reply = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(reply) = matching(&buffer[..length], question) {
                    return io::Result::Ok(reply);
                }
            }
        };
        if let Ok(reply) = timeout(pause, reply).await {
            return reply;
        }
    }
    // The caller's limit is reached at this very moment.
    std::future::pending().await
}

async fn over_tcp(server: SocketAddr, question: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let request = question.to_vec().map_err(io::Error::other)?;
    let length = u16::try_from(request.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), request.as_slice()].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    matching(&reply, question).ok_or_else(|| io::Error::other("the reply is to another question"))
}

/// The message, if it is the reply to the question.
fn matching(bytes: &[u8], question: &Message) -> Option<Message> {
    let reply = Message::from_vec(bytes).ok()?;
    let is_reply = reply.id == question.id
        && reply.message_type == MessageType::Response
        // A server that could not read the question may leave it out.
        && (reply.queries.is_empty() || reply.queries == question.queries);
    is_reply.then_some(reply)
}

fn read(message: &Message) -> Reply {
    let mut reply = Reply {
        code: code(message.response_code),
        authoritative: message.authoritative,
        addresses: Vec::new(),
        names: Vec::new(),
        serial: None,
        ttl: message.answers.iter().map(|record| record.ttl).min(),
    };
    for record in &message.answers {
        match &record.data {
            RData::A(a) => reply.addresses.push(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => reply.addresses.push(IpAddr::V6(aaaa.0)),
            RData::CNAME(name) => reply.names.push(bare(&name.0)),
            RData::PTR(name) => reply.names.push(bare(&name.0)),
            _ => {}
        }
    }
    for record in message.answers.iter().chain(&message.authorities) {
        if let RData::SOA(soa) = &record.data {
            reply.serial = Some(soa.serial);
        }
    }
    reply
}

fn code(code: ResponseCode) -> String {
    match u16::from(code) {
        // 16 is BADSIG in a signed message; ours is none.
        16 => "BADVERS".to_owned(),
        _ => format!("{code:?}").to_uppercase(),
    }
}

fn bare(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}
