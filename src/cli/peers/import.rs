//! `stayput import`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::give::{Given, give};
use super::held;
use crate::api::identity;
use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output};
use crate::config::Cluster;
use crate::config::peers::Mode;
use crate::name::Name;
use crate::peers::carry::{self, Export, Hash, SIZE};
use crate::peers::control::message::{Kind, Verdict, Word};
use crate::peers::trust::{Time, Trust};
use crate::peers::verify::{Verified, verify};
use crate::root::Root;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// What `stayput export` printed on another node
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The digest of the cluster authority's key, as `kubeadm join` takes it for
    /// --discovery-token-ca-cert-hash; from a source that you trust
    #[arg(long, value_name = "sha256:HEX")]
    ca_hash: String,
}

/// What was taken.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    cluster: Name,
    ca_hash: String,
    /// What each record said, and what became of it.
    records: Vec<Record>,
    #[serde(flatten)]
    given: Given,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// Null where it could not be verified.
    master: Option<Name>,
    says: Option<Kind>,
    version: Option<u64>,
    verdict: Word,
    /// Why it was refused.
    reason: Option<String>,
}

impl From<carry::Error> for Failure {
    fn from(error: carry::Error) -> Self {
        Self::new(exit::BAD_DATA, error)
    }
}

pub(super) fn import(context: &Context, args: &ImportArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, _) = context.load(&root)?;
    let hash = Hash::parse(&args.ca_hash)?;
    let export = Export::parse(&read(args)?, &cluster.domain)?;
    let (trust, own) = trust(&root, &cluster, &export, &hash)?;
    // By what time is for whoever takes them to say: of what is held already, certificates may have ended.
    let timeless = trust.at(Time::Any);
    let judged = export.records().map(|record| {
        let verified = record.and_then(|it| verify(&it, &timeless).map_err(|why| why.to_string()));
        verified.map_err(refused)
    });
    let judged: Vec<Result<Verified, Verdict>> = judged.collect();
    let good = judged.iter().filter_map(|it| it.as_ref().ok());
    let good: Vec<Vec<u8>> = good.map(|verified| verified.bytes().to_vec()).collect();
    let mut given = block_on(give(context, &root, &trust, &good))?;
    given.off = cluster.peers.mode == Mode::Off;
    let mut verdicts = std::mem::take(&mut given.verdicts).into_iter();
    let records = judged.into_iter().map(|judged| match judged {
        Ok(verified) => {
            let nothing = || refused("the peers process said nothing of it".to_owned());
            record(Some(&verified), verdicts.next().unwrap_or_else(nothing))
        }
        Err(verdict) => record(None, verdict),
    });
    let records: Vec<Record> = records.collect();
    let any = records.iter().any(|it| it.verdict == Word::Refused);
    if any && !own && given.report.is_none() {
        given.notices.push(
            "the peers process takes nothing before this node has its authority: run this again when it has joined, or with the process stopped".to_owned(),
        );
    }
    let imported = Imported {
        cluster: cluster.domain.clone(),
        ca_hash: hash.as_str().to_owned(),
        records,
        given,
    };
    output::print(context.global.output, &imported, text)?;
    Ok(if any || imported.given.failed() {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

/// The file's bytes; more than any export has is not read.
fn read(args: &ImportArgs) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let path = &args.file;
    let read = if path.as_os_str() == "-" {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            let text = "an export is read from standard input or from a file: ssh MASTER stayput export | stayput import --ca-hash sha256:…";
            return Err(Failure::new(exit::USAGE, text));
        }
        stdin.lock().take(SIZE + 1).read_to_end(&mut bytes)
    } else {
        // The operator's own file, wherever the root is.
        let file = std::fs::File::open(path);
        file.and_then(|file| file.take(SIZE + 1).read_to_end(&mut bytes))
    };
    let failed = |error| {
        Failure::new(
            exit::OS_ERROR,
            format!("cannot read {}: {error}", path.display()),
        )
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > SIZE {
        let text = format!(
            "{} has more than {SIZE} bytes; no export has",
            path.display()
        );
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    Ok(bytes)
}

/// By what the records are judged: this node's authority, which must be the one that was named, or where it
/// has none yet the one inside. Tells whether it has one.
fn trust(
    root: &Root,
    cluster: &Cluster,
    export: &Export,
    hash: &Hash,
) -> Result<(Trust, bool), Failure> {
    let pinned = export.authority(hash)?;
    match Trust::load(root, &cluster.domain) {
        Ok(own) => {
            carry::check_own(&own.authorities, hash)?;
            Ok((held::judged(root, own, None)?, true))
        }
        Err(identity::Error::Missing(_)) => {
            let trust = Trust {
                authorities: [pinned].into(),
                cluster: cluster.domain.clone(),
                loopback: root.loopback(),
                time: Time::Any,
            };
            Ok((held::judged(root, trust, None)?, false))
        }
        Err(error) => Err(Failure::new(exit::UNAVAILABLE, error)),
    }
}

fn refused(reason: String) -> Verdict {
    Verdict {
        verdict: Word::Refused,
        reason: Some(reason),
    }
}

fn record(verified: Option<&Verified>, verdict: Verdict) -> Record {
    let statement = verified.map(Verified::statement);
    Record {
        master: statement.map(|it| it.master.clone()),
        says: statement.map(|it| Kind::of(&it.says)),
        version: statement.map(|it| it.version),
        verdict: verdict.verdict,
        reason: verdict.reason,
    }
}

fn text(imported: &Imported) -> String {
    let or_none = |text: Option<String>| text.unwrap_or("-".to_owned());
    let rows = imported.records.iter().map(|record| {
        [
            or_none(record.master.as_ref().map(ToString::to_string)),
            or_none(record.says.map(|says| says.as_str().to_owned())),
            or_none(record.version.map(|version| version.to_string())),
            record.verdict.as_str().to_owned(),
            record.reason.clone().unwrap_or_default(),
        ]
    });
    let text = if imported.records.is_empty() {
        "there are no records inside\n".to_owned()
    } else {
        output::table(["MASTER", "SAYS", "VERSION", "RESULT", ""], rows)
    };
    text + &imported.given.lines().join("\n") + "\n"
}
