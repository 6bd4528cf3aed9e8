//! The short path: the common question, answered from bytes that were encoded before.
//!
//! Nearly every question is a single one for A or AAAA of a name that is there, in lower case, with
//! no EDNS options. Its reply is the question's own bytes between a header and sections that depend
//! on nothing but name and type. Those are cut from a reply of the full path when they are first
//! asked for and remembered in the zone; they go with it when it is replaced. So both paths give
//! the same bytes, which a property test and a fuzz target hold them to. Whatever is unusual about
//! a request sends it the long way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use super::Transport;
use super::answer::{MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, answer_in_full};
use super::zone::Zone;

/// A name's encoded answers: one for A, one for AAAA.
#[derive(Debug, Default)]
pub(super) struct Memo([OnceLock<Option<Sections>>; 2]);

/// The three counts of a header and the sections behind the question, without OPT.
#[derive(Debug)]
struct Sections(Box<[u8]>);

const HEADER: usize = 12;
/// QR and AA, the flags of every reply of this path; RD comes with the question.
const RESPONSE_AUTHORITATIVE: u8 = 0x84;
/// Octets of the three counts ANCOUNT, NSCOUNT and ARCOUNT at the end of a header.
const COUNTS: usize = 6;

/// Writes the reply, if this is the common question and the reply fits. Tells whether it did.
pub(super) fn answer(
    zone: &Zone,
    request: &[u8],
    transport: Transport,
    reply: &mut Vec<u8>,
) -> bool {
    try_answer(zone, request, transport, reply).is_some()
}

fn try_answer(
    zone: &Zone,
    request: &[u8],
    transport: Transport,
    reply: &mut Vec<u8>,
) -> Option<()> {
    let Asked {
        id,
        flags,
        question,
        name,
        slot,
        edns,
    } = Asked::read(request)?;
    let sections = zone.node(name)?.memo.0[slot]
        .get_or_init(|| Sections::encode(zone, question))
        .as_ref()?;
    let (counts, records) = sections.0.split_at_checked(COUNTS)?;

    reply.extend([id[0], id[1], RESPONSE_AUTHORITATIVE | flags, 0, 0, 1]);
    reply.extend(counts);
    reply.extend(question);
    reply.extend(records);
    if let Some(edns) = edns {
        edns.write(reply);
    }
    let limit = match (transport, edns) {
        (Transport::Udp, None) => MIN_UDP_PAYLOAD,
        (Transport::Udp, Some(edns)) => edns.payload.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD),
        (Transport::Tcp, _) => u16::MAX,
    };
    (reply.len() <= usize::from(limit)).then_some(())
}

/// A request that this path knows.
struct Asked<'r> {
    id: [u8; 2],
    /// The first octet of flags: nothing but RD.
    flags: u8,
    /// Name, type and class.
    question: &'r [u8],
    name: &'r [u8],
    /// Where [`Memo`] has the answer.
    slot: usize,
    edns: Option<ShortEdns>,
}

impl<'r> Asked<'r> {
    fn read(request: &'r [u8]) -> Option<Self> {
        let (header, rest) = request.split_first_chunk::<HEADER>()?;
        let [id @ .., flags, more_flags] = *header.first_chunk::<4>()?;
        // No response, opcode QUERY, nothing set but RD; and, in the second octet, AD and CD.
        let plain = flags & !0x01 == 0 && more_flags & !0x30 == 0;
        let has_edns = match header[4..] {
            [0, 1, 0, 0, 0, 0, 0, additional @ (0 | 1)] => additional == 1,
            _ => return None,
        };
        let name_len = name_len(rest)?;
        let (question, rest) = rest.split_at_checked(name_len + 4)?;
        let (name, type_and_class) = question.split_at(name_len);
        let slot = match type_and_class {
            [0, 1, 0, 1] => 0,
            [0, 28, 0, 1] => 1,
            _ => return None,
        };
        let edns = match (has_edns, rest) {
            (false, []) => None,
            (true, rest) => Some(ShortEdns::read(rest)?),
            _ => return None,
        };
        plain.then_some(Self {
            id,
            flags,
            question,
            name,
            slot,
            edns,
        })
    }
}

/// The length of a name in wire format without compression, its final zero included.
fn name_len(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        match *bytes.get(end)? {
            0 => return Some(end + 1),
            length @ 1..=63 => end += usize::from(length) + 1,
            _ => return None,
        }
    }
}

/// An OPT record without options (RFC 6891 section 6.1).
#[derive(Clone, Copy)]
struct ShortEdns {
    payload: u16,
    /// 0x80 for DO.
    dnssec_ok: u8,
}

impl ShortEdns {
    /// Version 0, and no flag but DO.
    fn read(record: &[u8]) -> Option<Self> {
        match *record {
            [0, 0, 41, high, low, 0, 0, dnssec_ok @ (0 | 0x80), 0, 0, 0] => Some(Self {
                payload: u16::from_be_bytes([high, low]),
                dnssec_ok,
            }),
            _ => None,
        }
    }

    /// The record of a reply; counts it.
    fn write(self, reply: &mut Vec<u8>) {
        let [high, low] = MAX_UDP_PAYLOAD.to_be_bytes();
        reply.extend([0, 0, 41, high, low, 0, 0, self.dnssec_ok, 0, 0, 0]);
        reply[HEADER - 1] = 1;
    }
}

impl Sections {
    /// Cuts the sections from a reply of the full path. `None` if that is anything but a whole
    /// positive or NODATA answer.
    fn encode(zone: &Zone, question: &[u8]) -> Option<Self> {
        let mut request = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        request.extend(question);
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut reply = Vec::new();
        answer_in_full(zone, &request, nobody, Transport::Tcp, &mut reply);
        let (header, rest) = reply.split_first_chunk::<HEADER>()?;
        let records = rest.strip_prefix(question)?;
        match *header {
            [0, 0, 0x84, 0, 0, 1, counts @ ..] if counts[4..] == [0, 0] => {
                Some(Self([&counts, records].concat().into()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns_support::{cluster, crowd};
    use super::*;

    const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
    const COOKIE: [u8; 12] = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

    fn request(name: &str, wanted: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, wanted, 0, 1]);
        bytes
    }

    fn with_opt(mut request: Vec<u8>, options: &[u8]) -> Vec<u8> {
        request[11] = 1;
        request.extend(OPT);
        request.extend(options);
        let last = request.len() - options.len() - 1;
        request[last] = u8::try_from(options.len()).unwrap();
        request
    }

    /// The property test says that the paths agree; this one, that there are two.
    #[test]
    fn takes_what_is_common_and_leaves_the_rest() {
        let zone = Zone::new(&cluster());
        let taken = |request: &[u8], transport| answer(&zone, request, transport, &mut Vec::new());
        let (a, aaaa, ptr) = (1, 28, 12);
        let known = request("master-1.k8s.internal", a);
        for request in [
            known.clone(),
            with_opt(known.clone(), &[]),
            request("master-1.k8s.internal", aaaa),
            request("old-name.k8s.internal", a),
            request("rack.k8s.internal", a),
            request("k8s.internal", aaaa),
        ] {
            assert!(taken(&request, Transport::Udp), "{request:?}");
            assert!(taken(&request, Transport::Tcp), "{request:?}");
        }
        for request in [
            request("Master-1.k8s.internal", a),
            request("nope.k8s.internal", a),
            request("example.com", a),
            request("11.0.77.10.in-addr.arpa", ptr),
            with_opt(known.clone(), &COOKIE),
            [known.as_slice(), &[0]].concat(),
            known[..known.len() - 1].to_vec(),
        ] {
            assert!(!taken(&request, Transport::Udp), "{request:?}");
        }
    }

    #[test]
    fn leaves_what_does_not_fit() {
        let zone = crowd();
        let request = request("crowd.k8s.internal", 1);
        assert!(!answer(&zone, &request, Transport::Udp, &mut Vec::new()));
        assert!(answer(&zone, &request, Transport::Tcp, &mut Vec::new()));
    }
}
