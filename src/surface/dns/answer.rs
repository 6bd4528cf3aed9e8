//! From the bytes of a request to the bytes of its reply: one pure function over a [`Zone`].
//!
//! hickory parses and encodes; the rules of a reply are here. They are not hickory-server's own
//! because its replies do not compress the owner against the question and lose their OPT record
//! when they are truncated (RFC 6891 section 7).
//!
//! - A response (QR set) and anything shorter than a header get no reply, so that two servers never
//!   talk to each other for ever.
//! - AA is set for our zones, RD copied, RA, AD and CD clear; the question comes back in its case.
//! - An OPT record is answered by one, always.
//! - What does not fit is first left without its additional records (RFC 2181 section 9) and then
//!   sent empty with TC set, so that nobody works with half a record set.

use std::net::SocketAddr;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::ProtoError;
use hickory_server::proto::op::{
    Edns, MessageType, Metadata, OpCode, Query, ResponseCode, emit_message_parts,
};
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;

use super::lookup::look_up;
use super::zone::Zone;
use super::{Transport, short};

/// The largest reply over UDP: it is not fragmented on any link of today (DNS Flag Day 2020). Also
/// what we tell clients that we take.
pub(super) const MAX_UDP_PAYLOAD: u16 = 1232;
/// The largest UDP reply to a client without EDNS (RFC 1035 section 4.2.1).
pub(super) const MIN_UDP_PAYLOAD: u16 = 512;

/// Writes the reply to a request into `reply`; it is left empty where none is due.
///
/// `source` is who asked. The short path gives the same bytes as [`answer_in_full`], sooner.
pub fn answer(
    zone: &Zone,
    request: &[u8],
    source: SocketAddr,
    transport: Transport,
    reply: &mut Vec<u8>,
) {
    reply.clear();
    if !short::answer(zone, request, transport, reply) {
        reply.clear();
        answer_in_full(zone, request, source, transport, reply);
    }
}

/// The same for any request, by way of hickory's types.
pub fn answer_in_full(
    zone: &Zone,
    request: &[u8],
    source: SocketAddr,
    transport: Transport,
    reply: &mut Vec<u8>,
) {
    let Some(start) = Start::read(request) else {
        return;
    };
    let protocol = match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    };
    // More than one question is an error (RFC 9619), and not worth the memory to read them.
    let parsed = (start.questions == 1)
        .then(|| Request::from_bytes(request.to_vec(), source, protocol).ok())
        .flatten();
    let response = respond(zone, start, parsed.as_ref());
    response.encode(transport, reply);
}

/// What of a header decides before anything else is read.
#[derive(Debug, Clone, Copy)]
struct Start {
    id: u16,
    op_code: OpCode,
    recursion_desired: bool,
    questions: u16,
}

impl Start {
    /// `None` if no reply is due.
    fn read(request: &[u8]) -> Option<Self> {
        let header: &[u8; 12] = request.first_chunk()?;
        let is_response = header[2] & 0x80 != 0;
        (!is_response).then(|| Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            op_code: OpCode::from_u8(header[2] >> 3 & 0x0f),
            recursion_desired: header[2] & 1 != 0,
            questions: u16::from_be_bytes([header[4], header[5]]),
        })
    }
}

/// A reply before it is encoded.
#[derive(Debug)]
struct Response {
    metadata: Metadata,
    question: Option<Query>,
    answers: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
    edns: Option<Edns>,
    /// What the client takes over UDP, in octets.
    udp_payload: u16,
}

/// `request` is `None` where it cannot be parsed.
fn respond(zone: &Zone, start: Start, request: Option<&Request>) -> Response {
    let mut metadata = Metadata::new(start.id, MessageType::Response, start.op_code);
    metadata.recursion_desired = start.recursion_desired;
    let question = request.and_then(|request| request.queries.queries().first());
    let edns = request.and_then(|request| request.edns.as_ref());
    let mut response = Response {
        metadata,
        question: question.map(|question| question.original().clone()),
        answers: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        edns: edns.map(edns_of_reply),
        udp_payload: edns.map_or(MIN_UDP_PAYLOAD, |edns| {
            edns.max_payload().clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD)
        }),
    };
    response.metadata.response_code = match (start.op_code, &response.question) {
        (OpCode::Query, _) if edns.is_some_and(|edns| edns.version() > 0) => ResponseCode::BADVERS,
        (OpCode::Query, None) => ResponseCode::FormErr,
        (OpCode::Query, Some(question)) => {
            let found = look_up(zone, question);
            response.metadata.authoritative = found.authoritative;
            response.answers = found.answers;
            response.authority = found.authority;
            response.additional = found.additional;
            found.code
        }
        _ => ResponseCode::NotImp,
    };
    response
}

/// Version 0, no options, DO as it came (RFC 3225 section 3).
fn edns_of_reply(request: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP_PAYLOAD)
        .set_dnssec_ok(request.flags().dnssec_ok);
    edns
}

impl Response {
    /// Encodes as much as fits. An empty reply means that not even the question did, which no
    /// request can bring about: with header and OPT record it has at most 282 octets.
    fn encode(mut self, transport: Transport, reply: &mut Vec<u8>) {
        let limit = match transport {
            Transport::Udp => self.udp_payload,
            Transport::Tcp => u16::MAX,
        };
        let mut whole = self.emit(limit, reply);
        if matches!(whole, Ok(false)) && !self.additional.is_empty() {
            self.additional.clear();
            whole = self.emit(limit, reply);
        }
        if !matches!(whole, Ok(true)) {
            self.answers.clear();
            self.authority.clear();
            match whole {
                Ok(_) => self.metadata.truncation = true,
                Err(_) => self.metadata.response_code = ResponseCode::ServFail,
            }
            whole = self.emit(limit, reply);
        }
        if !matches!(whole, Ok(true)) {
            reply.clear();
        }
    }

    /// Whether all of it was written.
    fn emit(&self, limit: u16, reply: &mut Vec<u8>) -> Result<bool, ProtoError> {
        reply.clear();
        let mut encoder = BinEncoder::new(reply);
        encoder.set_max_size(limit);
        let header = emit_message_parts(
            &self.metadata,
            &mut self.question.iter(),
            &mut self.answers.iter(),
            &mut self.authority.iter(),
            &mut self.additional.iter(),
            self.edns.as_ref(),
            None,
            &mut encoder,
        )?;
        // hickory sets TC where a section was cut short.
        Ok(header.metadata.truncation == self.metadata.truncation)
    }
}
