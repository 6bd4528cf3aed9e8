//! Hands records to the process that has this node's, or where none runs puts them into its file and the
//! book.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::context::{Context, Failure, LOCK_PATIENCE};
use crate::cli::{event, exit};
use crate::clock;
use crate::control::client;
use crate::lock;
use crate::peers::control::SERVICE;
use crate::peers::control::message::{OFFERED, Offer, Peers, State, Verdict, Verdicts, base64};
use crate::peers::offline::{self, Error};
use crate::peers::trust::Trust;
use crate::report::{DoneBy, Report};
use crate::request::Records;
use crate::root::Root;

/// How often a process that starts or stops is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// To whom records were given, and what became of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Given {
    /// `process`, or `command` where none runs.
    pub(super) taken_by: TakenBy,
    /// Other nodes that are up as far as the process knows: it tells them at once.
    pub(super) members_up: Option<usize>,
    /// What the agent, or this command, did to the book; null where the process tells the agent, or nothing
    /// was new, or it failed.
    pub(super) report: Option<Report>,
    /// What a person should know.
    pub(super) notices: Vec<String>,
    /// One for each record, in their order.
    #[serde(skip)]
    pub(super) verdicts: Vec<Verdict>,
    /// Whether the cluster file turns peers off.
    #[serde(skip)]
    pub(super) off: bool,
}

/// Who has taken records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TakenBy {
    /// The process that spreads them.
    Process,
    /// This command.
    Command,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Foreign { .. } => exit::DISAGREES,
            Error::Unreadable(_) | Error::Save(_) => exit::OS_ERROR,
        };
        Self::new(code, error)
    }
}

impl Given {
    /// Whether the book could not be brought to it.
    pub(super) fn failed(&self) -> bool {
        let unshown = self.report.as_ref().is_some_and(Report::failed);
        unshown || !self.notices.is_empty()
    }

    /// For people, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![match (self.taken_by, self.members_up) {
            (TakenBy::Process, Some(0)) => {
                "given to the peers process of this node, which tells other nodes as soon as one is there"
                    .to_owned()
            }
            (TakenBy::Process, Some(1)) => {
                "given to the peers process of this node, which tells the other node that is up".to_owned()
            }
            (TakenBy::Process, Some(many)) => format!(
                "given to the peers process of this node, which tells the {many} other nodes that are up"
            ),
            (TakenBy::Process, None) => "given to the peers process of this node".to_owned(),
            (TakenBy::Command, _) if self.off => "peers.mode is off in the cluster file: saved here, and no record counts before that changes".to_owned(),
            (TakenBy::Command, _) => "no peers process runs on this node: saved here; others hear it when one runs (`systemctl start stayput-peers`)".to_owned(),
        }];
        if let Some(report) = &self.report {
            let by = match report.done_by {
                DoneBy::Agent => "the agent has it",
                DoneBy::Command => {
                    "no agent runs on this node: this command has put it into the book"
                }
            };
            lines.push(by.to_owned());
        }
        lines.extend(self.notices.iter().map(|notice| format!("note: {notice}")));
        lines
    }
}

/// Gives these records, encoded, to whoever has this node's. `trust` is by the time that it is.
pub(super) async fn give(
    context: &Context,
    root: &Root,
    trust: &Trust,
    records: &[Vec<u8>],
) -> Result<Given, Failure> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match to_process(root, records).await {
            Err(error) if error.is_absent() => {}
            other => return Ok(other?),
        }
        // A process that starts or stops has the lock, but does not listen yet or any more.
        match lock::take(root, lock::PEERS, Duration::ZERO) {
            Ok(lock) => {
                let taken = offline::take(root, trust, records, clock::unix_now())?;
                drop(lock);
                return Ok(told(context, root, taken).await);
            }
            Err(lock::Error::Held { .. }) if Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn to_process(root: &Root, records: &[Vec<u8>]) -> Result<Given, client::Error> {
    let mut verdicts = Vec::new();
    // Also where there are none: so it is known who would have taken them.
    let chunks = records.chunks(OFFERED);
    for chunk in chunks.chain(records.is_empty().then_some(&[][..])) {
        let records = chunk.iter().map(|bytes| base64(bytes)).collect();
        let answer: Verdicts = SERVICE
            .post(root, "/v1/records", &Offer { records })
            .await?;
        verdicts.extend(answer.verdicts);
    }
    // They are taken; how many hear of it now is only for people.
    let peers = SERVICE.get::<Peers>(root, "/v1/peers").await.ok();
    let up = |peers: &Peers| {
        let members = peers.members.iter();
        members.filter(|member| member.state == State::Up).count()
    };
    Ok(Given {
        taken_by: TakenBy::Process,
        members_up: peers.as_ref().map(up),
        report: None,
        notices: Vec::new(),
        verdicts,
        off: false,
    })
}

/// Tells the book. The records are saved, so that it is no failure of theirs where that cannot be done.
async fn told(context: &Context, root: &Root, taken: offline::Taken) -> Given {
    let offline::Taken {
        ledger,
        verdicts,
        mut notices,
    } = taken;
    let report = if ledger.is_empty() {
        None
    } else {
        let records = Records {
            records: ledger.said(),
        };
        match event::recorded(context, root, records).await {
            Ok(report) => Some(report),
            Err(failure) => {
                notices.push(format!(
                    "the records are saved, but the book does not have them: {}",
                    failure.message
                ));
                None
            }
        }
    };
    Given {
        taken_by: TakenBy::Command,
        members_up: None,
        report,
        notices,
        verdicts,
        off: false,
    }
}
