//! Figures for Prometheus, in the text of `OpenMetrics` 1.0.
//!
//! [`figures`] says what a picture is in figures; the library writes them. There is a series for each
//! master, and none for each node: a cluster of thousands stays readable.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::message::{Kind, Role, State};
use crate::peers::daemon::command::{self, Counts, Member, Picture, Traffic};
use crate::peers::gossip::Who;
use crate::peers::ledger::Effective;

/// The type of the text.
pub const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What each name begins with.
const PREFIX: &str = "stayput_peers";

/// One family: all values of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Without the prefix; counters also without `_total`.
    pub name: &'static str,
    /// What it is, for people.
    pub help: &'static str,
    /// Whether it only grows.
    pub counts: bool,
    /// Labels and value.
    pub values: Vec<(Labels, u64)>,
}

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Figures(Vec<Figure>);

/// A picture's figures as text.
pub fn text(picture: &Picture) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Figures(figures(picture))));
    let mut text = String::new();
    // A string takes everything.
    let _ = text::encode(&mut text, &registry);
    text
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for figure in &self.0 {
            let kind = if figure.counts {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let help = format!("{}.", figure.help);
            let mut family = encoder.encode_descriptor(figure.name, &help, None, kind)?;
            if let [(labels, value)] = &figure.values[..]
                && labels.is_empty()
            {
                encode(figure.counts, *value, family)?;
                continue;
            }
            for (labels, value) in &figure.values {
                encode(figure.counts, *value, family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode(counts: bool, value: u64, into: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    if counts {
        ConstCounter::new(value).encode(into)
    } else {
        ConstGauge::new(value).encode(into)
    }
}

/// What a picture is in figures.
pub fn figures(picture: &Picture) -> Vec<Figure> {
    let own = &picture.own;
    let digest = picture.ledger.digest();
    let others = picture.members.iter();
    let others = others.filter(|it| {
        it.state == command::State::Up && it.digest.is_some_and(|theirs| theirs != digest)
    });
    let mut all = vec![
        gauge(
            "identified",
            "Whether this node has a valid certificate and takes part; else it only pulls",
            u64::from(own.who.is_some()),
        ),
        gauge(
            "agent_answers",
            "Whether the agent on this node answers",
            u64::from(own.agent),
        ),
        gauge(
            "lonely",
            "Whether no other node has spoken lately",
            u64::from(own.lonely),
        ),
        gauge(
            "problems",
            "What a person should know, as stayput peers lists it",
            picture.problems.len() as u64,
        ),
        family(
            "members",
            "Other nodes that are known",
            members(&picture.members),
        ),
        gauge(
            "members_connected",
            "Other nodes with a connection now",
            picture.members.iter().filter(|it| it.connected).count() as u64,
        ),
        gauge(
            "members_with_other_records",
            "Other nodes that are up and said last that they hold other records",
            others.count() as u64,
        ),
        family(
            "master_last_contact_seconds",
            "Since a master last spoke to this node itself",
            last_contacts(&picture.members),
        ),
    ];
    all.extend(records(picture));
    all.extend(counters(picture));
    all
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Figure {
    family(name, help, vec![(Vec::new(), value)])
}

fn family(name: &'static str, help: &'static str, values: Vec<(Labels, u64)>) -> Figure {
    Figure {
        name,
        help,
        counts: false,
        values,
    }
}

/// All four, also where there are none.
fn members(members: &[Member]) -> Vec<(Labels, u64)> {
    let kinds = [Role::Master, Role::Worker].into_iter();
    let kinds =
        kinds.flat_map(|role| [State::Up, State::Down, State::Gone].map(|state| (role, state)));
    let count = |(role, state)| {
        let is = |it: &&Member| Role::of(&it.who) == role && State::of(it.state) == state;
        members.iter().filter(is).count() as u64
    };
    let labels = |(role, state): (Role, State)| {
        let (role, state) = (role.as_str().to_owned(), state.as_str().to_owned());
        vec![("role", role), ("state", state)]
    };
    kinds.map(|kind| (labels(kind), count(kind))).collect()
}

fn last_contacts(members: &[Member]) -> Vec<(Labels, u64)> {
    let heard = |it: &Member| match (&it.who, it.heard) {
        (Who::Master(name), Some(ago)) => Some((master(name), ago.as_secs())),
        _ => None,
    };
    members.iter().filter_map(heard).collect()
}

fn master(name: &impl ToString) -> Labels {
    vec![("master", name.to_string())]
}

fn records(picture: &Picture) -> [Figure; 3] {
    let kinds = [Kind::At, Kind::Removed, Kind::Replaced].into_iter();
    let held = kinds.map(|kind| {
        let records = picture.ledger.records();
        let of = records.filter(|held| Kind::of(&held.verified.statement().says) == kind);
        (vec![("says", kind.as_str().to_owned())], of.count() as u64)
    });
    let effective = picture.ledger.effective();
    let each = |value: fn(&Effective) -> u64| {
        let values = effective.iter();
        let values = values.map(|(name, it)| (master(name), value(it)));
        values.collect::<Vec<_>>()
    };
    [
        family("records", "Signed records that are held", held.collect()),
        family(
            "record_signed_timestamp_seconds",
            "When the record that counts of a master was signed, as its version tells",
            each(|it| it.version),
        ),
        family(
            "record_received_timestamp_seconds",
            "When this node first saw the record that counts of a master",
            each(|it| it.received),
        ),
    ]
}

fn counters(picture: &Picture) -> Vec<Figure> {
    let failures = picture.traffic.failures.iter();
    let failures = failures.map(|(reason, count)| (vec![("reason", (*reason).to_owned())], *count));
    let counter = |values| Figure {
        counts: true,
        ..values
    };
    let mut all: Vec<Figure> = of_records(&picture.counts)
        .into_iter()
        .chain(of_connections(&picture.traffic))
        .map(|(name, help, value)| counter(gauge(name, help, value)))
        .collect();
    all.push(gauge(
        "connections",
        "Connections now",
        picture.traffic.connections,
    ));
    all.push(counter(family(
        "connections_failed",
        "Connections that came to nothing or were ended",
        failures.collect(),
    )));
    all
}

/// Name, help and value.
type Count = (&'static str, &'static str, u64);

fn of_records(counts: &Counts) -> [Count; 10] {
    [
        (
            "records_taken",
            "Records that were taken, own ones too",
            counts.taken,
        ),
        (
            "records_refused",
            "Records that were refused",
            counts.refused,
        ),
        (
            "records_signed",
            "Records that this node has signed",
            counts.signed,
        ),
        (
            "frames_refused",
            "Frames that were not to be taken, records aside",
            counts.malformed,
        ),
        (
            "multicast_sent",
            "Datagrams that were sent by multicast",
            counts.multicast_sent,
        ),
        (
            "multicast_heard",
            "Datagrams that were heard by multicast",
            counts.multicast_heard,
        ),
        (
            "multicast_dropped",
            "Datagrams of multicast that were too many to be looked at",
            counts.multicast_dropped,
        ),
        ("pulls_made", "Pulls that brought something", counts.pulled),
        (
            "agent_told",
            "Times that the agent was told what counts",
            counts.told_agent,
        ),
        (
            "save_failures",
            "Saves of the records that failed",
            counts.save_failures,
        ),
    ]
}

fn of_connections(traffic: &Traffic) -> [Count; 9] {
    [
        (
            "connections_accepted",
            "Connections that others made",
            traffic.accepted,
        ),
        (
            "connections_dialled",
            "Connections that this node made",
            traffic.dialled,
        ),
        (
            "dials_failed",
            "Attempts to dial that failed",
            traffic.unreachable,
        ),
        ("frames_received", "Frames that came", traffic.frames_in),
        (
            "frames_sent",
            "Frames that were written",
            traffic.frames_out,
        ),
        (
            "received_bytes",
            "Bytes of frames that came",
            traffic.bytes_in,
        ),
        (
            "sent_bytes",
            "Bytes of frames that were written",
            traffic.bytes_out,
        ),
        (
            "frames_dropped",
            "Frames that were never written",
            traffic.dropped,
        ),
        (
            "pulls_answered",
            "Pulls of others that were answered",
            traffic.pulls,
        ),
    ]
}

#[cfg(test)]
mod tests;
