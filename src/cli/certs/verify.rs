//! `stayput certs verify`.

use std::fmt::Write;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output, show};
use crate::pki::inventory;
use crate::pki::live::{self, Row, State};
use crate::pki::moment::Moment;
use crate::pki::proof::{Proof, prove};
use crate::pki::session::{on_master, unfinished};

/// A server on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Also ask the running kube-apiserver, etcd and kubelet which certificate they serve
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    holds: bool,
    certificates: Vec<Proof>,
    servers: Vec<Row>,
    notices: Vec<String>,
}

pub(super) fn verify(context: &Context, args: VerifyArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let wanted = on_master(&cluster, &node)?;
    let now = Moment::read(&root, false)?.judged();
    let inventory = inventory::take(&root, &wanted);
    let certificates = prove(&wanted, &inventory, now);
    let notices = unfinished(&root, &cluster, &wanted, &inventory);
    let servers = if args.live {
        let view = block_on(show::in_force(context, &root))?;
        let book: &[IpAddr] = node
            .master()
            .map_or(&[], |master| view.book.addresses(master));
        // A server may listen on the stable address alone.
        let master = node.master().and_then(|name| cluster.master(name));
        let master = master.into_iter();
        let kept = master.flat_map(|master| cluster.routes.kept(master));
        let own = book.iter().copied().chain(kept).filter(is_here);
        let own: Vec<IpAddr> = own.collect();
        live::look(&root, &live::servers(&cluster, &node, &own), PATIENCE)
    } else {
        Vec::new()
    };
    let verdict = Verdict {
        holds: certificates.iter().all(|proof| proof.holds)
            && servers.iter().all(|row| row.agrees)
            && notices.is_empty(),
        certificates,
        servers,
        notices,
    };
    output::print(context.global.output, &verdict, text)?;
    Ok(if verdict.holds {
        exit::OK
    } else {
        exit::DISAGREES
    })
}

/// Whether an address of the book is this machine's now: nobody else is asked.
fn is_here(address: &IpAddr) -> bool {
    UdpSocket::bind((*address, 0)).is_ok()
}

fn text(verdict: &Verdict) -> String {
    let verdict_of = |holds| if holds { "ok" } else { "WRONG" }.to_owned();
    let rows = verdict.certificates.iter().map(|proof| {
        [
            proof.id.clone(),
            proof.path.display().to_string(),
            verdict_of(proof.holds),
        ]
    });
    let mut text = output::table(["NAME", "FILE", ""], rows);
    for proof in &verdict.certificates {
        for problem in &proof.problems {
            let _ = writeln!(text, "{}: {problem}", proof.id);
        }
    }
    for notice in &verdict.notices {
        let _ = writeln!(text, "{notice}");
    }
    if !verdict.servers.is_empty() {
        let dash = |serial: &Option<String>| serial.clone().unwrap_or_else(|| "-".to_owned());
        let rows = verdict.servers.iter().map(|row| {
            [
                row.server.clone(),
                row.address.to_string(),
                dash(&row.serial_served),
                dash(&row.serial_on_disk),
                verdict_of(row.agrees),
            ]
        });
        let header = ["SERVER", "ADDRESS", "SERVES", "ON DISK", ""];
        let _ = write!(text, "\n{}", output::table(header, rows));
        for row in verdict
            .servers
            .iter()
            .filter(|row| row.state != State::Agrees)
        {
            let _ = writeln!(text, "{}: {}", row.server, row.detail);
        }
    }
    text
}
