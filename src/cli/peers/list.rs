//! `stayput peers`.

use std::fmt::Write;

use serde::Serialize;

use super::held;
use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output};
use crate::clock;
use crate::config::peers::Mode;
use crate::peers::control::SERVICE;
use crate::peers::control::message::{Kind, Member, Peers, Record, Records};
use crate::peers::ledger::Ledger;
use crate::peers::store;

/// What is shown: by the process, or where none runs what its file holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// Whether the process runs.
    running: bool,
    /// What it says of the nodes; null where none runs.
    peers: Option<Peers>,
    /// SHA-256 of all records.
    digest: String,
    records: Vec<Record>,
    /// Whether the cluster file turns it off.
    #[serde(skip)]
    off: bool,
    /// What could not be shown, and why.
    notices: Vec<String>,
}

pub(super) fn list(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let listed = block_on(async {
        match SERVICE.get::<Peers>(&root, "/v1/peers").await {
            Ok(peers) => {
                let Records { digest, records } = SERVICE.get(&root, "/v1/records").await?;
                return Ok(Listed {
                    running: true,
                    peers: Some(peers),
                    digest,
                    records,
                    off: false,
                    notices: Vec::new(),
                });
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error.into()),
        }
        let (cluster, _) = context.load(&root)?;
        let (records, notices) = match held::trust(&root, &cluster, None) {
            Ok(trust) => {
                let holding = held::held(&root, &trust).await?;
                let records = Records::of(&holding.ledger, clock::unix_now());
                (records, holding.notices)
            }
            // Before its join a node cannot verify what it holds.
            Err(failure) => (Records::of(&Ledger::default(), 0), vec![failure.message]),
        };
        Ok(Listed {
            running: false,
            peers: None,
            digest: records.digest,
            records: records.records,
            off: cluster.peers.mode == Mode::Off,
            notices,
        })
    })?;
    output::print(context.global.output, &listed, text)?;
    Ok(if listed.running {
        exit::OK
    } else {
        exit::UNAVAILABLE
    })
}

fn text(listed: &Listed) -> String {
    let mut text = match &listed.peers {
        Some(peers) => heading(peers) + "\n" + &members(peers),
        None if listed.off => format!(
            "peers.mode is off in the cluster file, and no node speaks or listens; this is what {} holds\n",
            store::PATH
        ),
        None => format!(
            "no peers process runs on this node (`systemctl start stayput-peers`); this is what {} holds\n",
            store::PATH
        ),
    };
    text += "\n";
    text += &records(&listed.records);
    let problems = listed.peers.iter().flat_map(|peers| &peers.problems);
    let remarks: Vec<&str> = problems
        .chain(&listed.notices)
        .map(String::as_str)
        .collect();
    if !remarks.is_empty() {
        let _ = write!(text, "\n{}\n", remarks.join("\n"));
    }
    text
}

fn heading(peers: &Peers) -> String {
    let own = &peers.own;
    let who = match (&own.name, own.role) {
        (Some(name), Some(role)) => format!("{} {name}", role.as_str()),
        _ => "no valid certificate yet: records are only pulled from others".to_owned(),
    };
    let joined = |list: Vec<String>| match list.len() {
        0 => "-".to_owned(),
        _ => list.join(" "),
    };
    let texts = |list: &[std::net::SocketAddr]| list.iter().map(ToString::to_string).collect();
    let agent = if own.agent {
        "the agent answers"
    } else {
        "the agent does not answer"
    };
    let alone = if own.lonely {
        ", no other node has spoken lately"
    } else {
        ""
    };
    format!(
        "{who}\nreached at {}, listens at {}, multicast on {}\nstayput {}, peers process {} runs since {}, {agent}{alone}\n",
        joined(texts(&own.addresses)),
        joined(texts(&own.listening)),
        joined(own.multicast.clone()),
        peers.version,
        peers.process.pid,
        peers.process.since,
    )
}

fn members(peers: &Peers) -> String {
    if peers.members.is_empty() {
        return "no other node is known yet\n".to_owned();
    }
    let same = |member: &Member| match member.same_records {
        Some(true) => "same",
        Some(false) => "other",
        None => "-",
    };
    let rows = peers.members.iter().map(|member| {
        let addresses: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
        [
            member.name.clone(),
            member.role.as_str().to_owned(),
            member.state.as_str().to_owned(),
            member
                .last_contact_seconds
                .map_or("-".to_owned(), clock::age),
            same(member).to_owned(),
            addresses.join(" "),
        ]
    });
    let header = [
        "NODE",
        "ROLE",
        "STATE",
        "LAST CONTACT",
        "RECORDS",
        "ADDRESSES",
    ];
    output::table(header, rows)
}

fn records(records: &[Record]) -> String {
    if records.is_empty() {
        return "no records are held\n".to_owned();
    }
    let rows = records.iter().map(|record| {
        let says = match (record.says, &record.not_before) {
            (Kind::At, _) => output::addresses(&record.addresses),
            (Kind::Replaced, Some(from)) => format!("replaced, certificates from {from} on"),
            (other, _) => other.as_str().to_owned(),
        };
        let counts = if record.counts { "yes" } else { "no" };
        [
            record.master.to_string(),
            says,
            record.version.to_string(),
            record.signer.label().to_owned(),
            clock::age(record.age_seconds),
            counts.to_owned(),
        ]
    });
    let header = ["MASTER", "SAYS", "VERSION", "SIGNED BY", "AGE", "COUNTS"];
    output::table(header, rows)
}
