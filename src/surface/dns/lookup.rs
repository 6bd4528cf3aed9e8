//! From a question to records: what is true, before any thought of bytes.

use hickory_server::proto::op::{Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SRV};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

use super::zone::{self, Content, Host, Place, Zone};

/// The sections of a reply.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) code: ResponseCode,
    /// Whether the question was about one of our zones.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    /// May be left out where it does not fit.
    pub(super) additional: Vec<Record>,
}

/// Looks a question up (RFC 1034 section 4.3.2, without delegations and wildcards).
///
/// Owner names are cut from the question's own name, so that they keep its case.
pub(super) fn look_up(zone: &Zone, question: &Query) -> Found {
    let (owner, wanted) = (question.name(), question.query_type());
    if question.query_class() != DNSClass::IN || is_meta(wanted) {
        return Found::nothing(ResponseCode::Refused);
    }
    let Some(place) = zone.find(&zone::key(owner)) else {
        return Found::nothing(ResponseCode::Refused);
    };
    let mut found = Found::nothing(ResponseCode::NoError);
    found.authoritative = true;
    if place.exact {
        found.answers = match wanted {
            RecordType::ANY => any(zone, place, owner),
            wanted => records(zone, place, owner, wanted),
        };
        if !found.answers.is_empty() {
            found.additional = additional(zone, place, wanted);
        }
        if found.answers.is_empty()
            && let Content::Alias(index) = place.node.content
            && let Some(host) = zone.host(index)
        {
            let target = RData::CNAME(CNAME(host.name.clone()));
            found.answers.push(record(zone, owner, target));
            let chased = addresses(zone, host, &host.name, wanted);
            if chased.is_empty() {
                found.authority.push(soa(zone, place, owner));
            }
            found.answers.extend(chased);
        }
    } else {
        found.code = ResponseCode::NXDomain;
    }
    if found.answers.is_empty() {
        // NODATA or NXDOMAIN, and for how long that may be remembered (RFC 2308 section 3).
        found.authority.push(soa(zone, place, owner));
    }
    found
}

impl Found {
    fn nothing(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
        }
    }
}

/// Types that ask for something to be done (RFC 6895 section 3.1), such as a transfer: not here.
/// ANY is answered.
fn is_meta(wanted: RecordType) -> bool {
    let number = u16::from(wanted);
    number == 0 || wanted == RecordType::OPT || (128..=254).contains(&number)
}

/// The records of one type at a name.
fn records(zone: &Zone, place: Place<'_>, owner: &Name, wanted: RecordType) -> Vec<Record> {
    let at_apex = usize::from(owner.num_labels()) == place.apex_labels;
    match (&place.node.content, wanted) {
        (_, RecordType::SOA) if at_apex => vec![soa(zone, place, owner)],
        (_, RecordType::NS) if at_apex => {
            let server = zone.name_server().map(|host| host.name.clone());
            let server = server.map(|name| record(zone, owner, RData::NS(NS(name))));
            server.into_iter().collect()
        }
        (Content::Host(index), _) => zone
            .host(*index)
            .map(|host| addresses(zone, host, owner, wanted))
            .unwrap_or_default(),
        (Content::Alias(index), RecordType::CNAME) => zone
            .host(*index)
            .map(|host| record(zone, owner, RData::CNAME(CNAME(host.name.clone()))))
            .into_iter()
            .collect(),
        (Content::Reverse(indices), RecordType::PTR) => indices
            .iter()
            .filter_map(|index| zone.host(*index))
            .map(|host| record(zone, owner, RData::PTR(PTR(host.name.clone()))))
            .collect(),
        (Content::Service(port), RecordType::SRV) => zone
            .masters()
            .map(|host| RData::SRV(SRV::new(0, 0, *port, host.name.clone())))
            .map(|data| record(zone, owner, data))
            .collect(),
        _ => Vec::new(),
    }
}

/// A host's addresses of one type, in the order in which they were told.
fn addresses(zone: &Zone, host: &Host, owner: &Name, wanted: RecordType) -> Vec<Record> {
    host.addresses
        .iter()
        .filter(|address| Host::record_type(**address) == wanted)
        .map(|address| {
            let data = match address {
                IpAddr::V4(v4) => RData::A(A(*v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
            };
            record(zone, owner, data)
        })
        .collect()
}

/// One record set that exists, instead of all (RFC 8482 section 4.1).
fn any(zone: &Zone, place: Place<'_>, owner: &Name) -> Vec<Record> {
    [
        RecordType::SOA,
        RecordType::A,
        RecordType::AAAA,
        RecordType::CNAME,
        RecordType::PTR,
        RecordType::SRV,
    ]
    .into_iter()
    .map(|wanted| records(zone, place, owner, wanted))
    .find(|records| !records.is_empty())
    .unwrap_or_default()
}

/// The addresses of the hosts that an answer names.
fn additional(zone: &Zone, place: Place<'_>, wanted: RecordType) -> Vec<Record> {
    let both = |host: &Host| {
        let mut records = addresses(zone, host, &host.name, RecordType::A);
        records.extend(addresses(zone, host, &host.name, RecordType::AAAA));
        records
    };
    match (&place.node.content, wanted) {
        (Content::Service(_), RecordType::SRV) => zone.masters().flat_map(both).collect(),
        (_, RecordType::NS) => zone.name_server().map(both).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn soa(zone: &Zone, place: Place<'_>, owner: &Name) -> Record {
    let apex = owner.trim_to(place.apex_labels);
    record(zone, &apex, RData::SOA(zone.soa()))
}

fn record(zone: &Zone, owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), zone.ttl(), data)
}
