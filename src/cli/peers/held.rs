//! The records that this node holds: by the process that has them, or where none runs by its file.

use crate::cli::context::Failure;
use crate::cli::exit;
use crate::clock;
use crate::config::Cluster;
use crate::peers::control::SERVICE;
use crate::peers::control::message::{self, unbase64};
use crate::peers::ledger::Ledger;
use crate::peers::record::Record;
use crate::peers::store::{self, Loaded};
use crate::peers::trust::{Time, Trust};
use crate::peers::verify::verify;
use crate::pki::moment::Moment;
use crate::root::Root;

/// What is held, and by whom.
#[derive(Debug)]
pub(super) struct Holding {
    /// All records.
    pub(super) ledger: Ledger,
    /// What a person should know.
    pub(super) notices: Vec<String>,
}

/// What this node trusts, by the time that it is as far as it knows. `begun`: when a certificate of this
/// node's own began.
pub(super) fn trust(root: &Root, cluster: &Cluster, begun: Option<i64>) -> Result<Trust, Failure> {
    let loaded = Trust::load(root, &cluster.domain);
    let trust = loaded.map_err(|error| {
        let text = format!("{error}; records are verified by the cluster's authority");
        Failure::new(exit::UNAVAILABLE, text)
    })?;
    judged(root, trust, begun)
}

/// The same trust by the time that it is.
pub(super) fn judged(root: &Root, trust: Trust, begun: Option<i64>) -> Result<Trust, Failure> {
    let moment = Moment::read(root, false)?;
    let time = Time::judged(&moment, trust.begun().chain(begun));
    Ok(trust.at(time))
}

/// All records that are held; an error where they cannot be read.
pub(super) async fn held(root: &Root, trust: &Trust) -> Result<Holding, Failure> {
    match SERVICE.get::<message::Records>(root, "/v1/records").await {
        Ok(records) => {
            let (ledger, notices) = verified(&records, &trust.at(Time::Any));
            Ok(Holding { ledger, notices })
        }
        Err(error) if error.is_absent() => saved(root, trust),
        Err(error) => Err(error.into()),
    }
}

/// The process's word is not taken for it: what is exported, or signed above, was verified here.
fn verified(records: &message::Records, trust: &Trust) -> (Ledger, Vec<String>) {
    let (mut ledger, mut notices) = (Ledger::default(), Vec::new());
    for told in &records.records {
        let read = unbase64(&told.record).ok_or("no base64".to_owned());
        let read = read.and_then(|bytes| Record::decode(&bytes).map_err(|it| it.to_string()));
        match read.and_then(|record| verify(&record, trust).map_err(|it| it.to_string())) {
            Ok(verified) => {
                let received = clock::unix_now().saturating_sub(told.age_seconds);
                let _ = ledger.offer(verified, received);
            }
            Err(error) => notices.push(format!("a record of the process: {error}")),
        }
    }
    (ledger, notices)
}

fn saved(root: &Root, trust: &Trust) -> Result<Holding, Failure> {
    let mut notices = Vec::new();
    let ledger = match store::peek(root, trust) {
        Loaded::Good { ledger, refused } => {
            let told = refused.iter();
            notices.extend(told.map(|why| format!("{}: left out: {why}", store::PATH)));
            ledger
        }
        Loaded::Fresh => Ledger::default(),
        Loaded::Damaged { reason, .. } => {
            notices.push(format!("{} is damaged: {reason}", store::PATH));
            Ledger::default()
        }
        Loaded::Unreadable(unreadable) => {
            return Err(Failure::new(exit::OS_ERROR, unreadable));
        }
    };
    Ok(Holding { ledger, notices })
}
