//! Certificates as far as the agent is concerned: it reads what the last run has left, reminds of what
//! is due, and, with `--renew`, starts the runs.
//!
//! A run is `stayput certs renew --unattended` as a process of its own: the agent holds no key and
//! needs none, and a run that hangs or dies takes nothing along. It starts a while after the agent has,
//! then once a day at a time that follows from the node's name ([`spread`]), and sooner after a failed
//! one. When the agent ends, a run is asked to end and given the time to put a manifest back.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::Agent;
use crate::clock;
use crate::pki::outlook::{self, Known};
use crate::pki::spread;
use crate::process::{Error, Finished, Program};
use crate::status::{AgentRuns, CertificatesStatus, Loudness};

/// How often is looked without a reason, and how often what is due is said again.
pub(super) const LOOK: Duration = Duration::from_hours(1);
const REMIND: Duration = Duration::from_hours(24);
/// How long the disk may take to read the record.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first run starts this long after the agent at the latest.
const FIRST: Duration = Duration::from_mins(30);
/// How long a run may take: three static pods that do not end, and programs.
const RUN: Duration = Duration::from_hours(1);
/// How long a run may take to end once it is asked to; shorter than the agent's own patience.
const GRACE: Duration = Duration::from_secs(3);

/// What the agent knows of certificates, and what it does about them.
#[derive(Default)]
pub(super) struct Certificates {
    known: Option<Known>,
    /// When it was last said what is due, and how loudly.
    told: Option<(Instant, Loudness)>,
    runs: Option<Runs>,
}

/// The agent's own runs.
struct Runs {
    program: Program,
    /// The node's.
    name: String,
    turn: Turn,
    failures: u32,
    last_error: Option<String>,
}

enum Turn {
    /// The next one starts at this moment, also told in Unix time.
    Waits(Instant, u64),
    Runs {
        ended: Pin<Box<dyn Future<Output = Result<Finished, Error>>>>,
        /// Dropped, it asks the run to end.
        stop: oneshot::Sender<()>,
    },
}

/// The command that the agent starts for a run: itself, with arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// This program.
    pub program: PathBuf,
    /// All that makes it renew what is due on this node.
    pub arguments: Vec<std::ffi::OsString>,
}

impl Certificates {
    /// With runs of its own, if they are asked for. `name` is the node's.
    pub(super) fn new(renewal: Option<&Renewal>, name: &str) -> Result<Self, Error> {
        let runs = match renewal {
            None => None,
            Some(renewal) => Some(Runs::new(renewal, name)?),
        };
        Ok(Self {
            runs,
            ..Self::default()
        })
    }

    /// What status shows now.
    pub(super) fn status(&self) -> Option<CertificatesStatus> {
        let runs = self.runs.as_ref().map(Runs::status);
        let status = self
            .known
            .as_ref()
            .map(|known| outlook::outlook(known, now()));
        let mut status = match (status, &runs) {
            (None, None) => return None,
            (status, _) => status.unwrap_or_default(),
        };
        if self.runs.as_ref().is_some_and(|runs| runs.failures > 0) {
            status.loudness = status.loudness.max(Loudness::Warning);
        }
        status.runs = runs;
        Some(status)
    }

    /// Says what is due: when it becomes so, when it becomes more urgent, and once a day.
    fn remind(&mut self) {
        let Some(status) = self.status().filter(|it| it.loudness > Loudness::Info) else {
            self.told = None;
            return;
        };
        let now = Instant::now();
        if let Some((at, loudness)) = self.told
            && status.loudness <= loudness
            && now - at < REMIND
        {
            return;
        }
        self.told = Some((now, status.loudness));
        for line in reminders(&status) {
            match status.loudness {
                Loudness::Critical => error!("certificates: {line}"),
                Loudness::Info | Loudness::Warning => warn!("certificates: {line}"),
            }
        }
    }

    /// Ends when a run has started or ended. May be cancelled.
    pub(super) async fn turn(&mut self) {
        match &mut self.runs {
            Some(runs) => runs.turn().await,
            None => std::future::pending().await,
        }
    }

    /// Asks a run that is in progress to end, and waits for it.
    pub(super) async fn close(self) {
        if let Some(Runs {
            turn: Turn::Runs { ended, stop },
            ..
        }) = self.runs
        {
            drop(stop);
            if let Err(error) = ended.await {
                warn!("the renewal was ended with the agent: {error}");
            }
        }
    }
}

/// What is said in the log, the most urgent first.
fn reminders(status: &CertificatesStatus) -> Vec<String> {
    let due = status.due.iter().map(|due| {
        let end = due.not_after.as_deref().unwrap_or("unknown");
        format!(
            "{} is {}, its end is {end} ({})",
            due.id,
            due.state,
            due.path.display()
        )
    });
    due.chain(status.remarks.iter().cloned()).collect()
}

impl Runs {
    fn new(renewal: &Renewal, name: &str) -> Result<Self, Error> {
        let program = Program::new(&renewal.program, RUN)?.args(&renewal.arguments);
        let wait = spread::jitter(name, FIRST);
        info!(
            "renewals are started by the agent; the first one in {}",
            clock::age(wait.as_secs())
        );
        Ok(Self {
            program,
            name: name.to_owned(),
            turn: Turn::after(wait),
            failures: 0,
            last_error: None,
        })
    }

    async fn turn(&mut self) {
        match &mut self.turn {
            Turn::Waits(at, _) => {
                tokio::time::sleep_until(*at).await;
                self.start();
            }
            Turn::Runs { ended, .. } => {
                let ended = ended.await;
                self.note(ended);
            }
        }
    }

    fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let program = self.program.clone();
        let ended = Box::pin(async move {
            // The other end is only ever dropped.
            let stopped = async { drop(stopped.await) };
            program.run_until(stopped, GRACE).await
        });
        self.turn = Turn::Runs { ended, stop };
    }

    fn note(&mut self, ended: Result<Finished, Error>) {
        match ended {
            Ok(_) => {
                info!("a renewal run has ended well");
                self.failures = 0;
                self.last_error = None;
                self.turn = Turn::after(spread::until_daily(&self.name, clock::unix_now()));
            }
            Err(error) => {
                let text = error.to_string();
                self.failures = self.failures.saturating_add(1);
                let wait = spread::until_retry(&self.name, self.failures);
                if self.last_error.as_ref() != Some(&text) {
                    warn!(
                        "a renewal run has failed; the next try is in {}: {text}",
                        clock::age(wait.as_secs())
                    );
                }
                self.last_error = Some(text);
                self.turn = Turn::after(wait);
            }
        }
    }

    fn status(&self) -> AgentRuns {
        AgentRuns {
            next: match &self.turn {
                Turn::Waits(_, unix) => Some(clock::rfc3339(*unix)),
                Turn::Runs { .. } => None,
            },
            failures: self.failures,
            last_error: self.last_error.clone(),
        }
    }
}

impl Turn {
    /// The clock may jump meanwhile; the wait does not.
    fn after(wait: Duration) -> Self {
        Self::Waits(Instant::now() + wait, clock::unix_now() + wait.as_secs())
    }
}

impl Agent {
    /// Looks at what the last run has left.
    pub(super) async fn look_at_certificates(&mut self) {
        let root = self.settings.root.clone();
        let master = self.engine.view().node.master().is_some();
        let look = move || outlook::look(&root, master, now());
        // A disk that hangs leaves what was known.
        if let Ok(Ok(known)) = timeout(PATIENCE, self.engine.writer().run(look)).await {
            self.certificates.known = known;
        }
        self.certificates.remind();
    }
}

fn now() -> i64 {
    i64::try_from(clock::unix_now()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(script: &str) -> Certificates {
        let renewal = Renewal {
            program: "/bin/sh".into(),
            arguments: ["-c", script].map(Into::into).to_vec(),
        };
        let certificates = Certificates::new(Some(&renewal), "master-1.k8s.internal").unwrap();
        assert_eq!(certificates.status().unwrap().loudness, Loudness::Info);
        certificates
    }

    /// Makes what it waits for be now.
    fn hurry(certificates: &mut Certificates) {
        certificates.runs.as_mut().unwrap().turn = Turn::after(Duration::ZERO);
    }

    async fn run(certificates: &mut Certificates) -> AgentRuns {
        hurry(certificates);
        certificates.turn().await;
        assert_eq!(certificates.status().unwrap().runs.unwrap().next, None);
        certificates.turn().await;
        certificates.status().unwrap().runs.unwrap()
    }

    fn wait(certificates: &Certificates) -> Duration {
        match certificates.runs.as_ref().unwrap().turn {
            Turn::Waits(at, _) => at - Instant::now(),
            Turn::Runs { .. } => panic!("it runs"),
        }
    }

    #[tokio::test]
    async fn the_first_run_comes_soon_and_the_next_within_a_day() {
        let mut certificates = runs("exit 0");
        assert!(wait(&certificates) < FIRST);
        let status = run(&mut certificates).await;
        assert_eq!((status.failures, status.last_error), (0, None));
        assert!(status.next.is_some());
        assert!(wait(&certificates) <= Duration::from_hours(24));
    }

    #[tokio::test]
    async fn a_failed_run_is_tried_again_and_seen() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good");
        let mut certificates = runs(&format!(
            "test -e {} || {{ echo no disk; exit 3; }}",
            good.display()
        ));
        for failures in 1..3 {
            let status = run(&mut certificates).await;
            assert_eq!(status.failures, failures);
            assert!(status.last_error.unwrap().contains("no disk"));
            assert!(wait(&certificates) < Duration::from_mins(16));
            assert_eq!(certificates.status().unwrap().loudness, Loudness::Warning);
        }
        std::fs::write(good, "").unwrap();
        let status = run(&mut certificates).await;
        assert_eq!((status.failures, status.last_error), (0, None));
        assert_eq!(certificates.status().unwrap().loudness, Loudness::Info);
    }

    #[tokio::test]
    async fn a_run_is_given_time_to_tidy_up_when_the_agent_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (ready, tidy) = (dir.path().join("ready"), dir.path().join("tidy"));
        let mut certificates = runs(&format!(
            "trap 'touch {}; exit 0' TERM; touch {}; while :; do sleep 0.01; done",
            tidy.display(),
            ready.display()
        ));
        hurry(&mut certificates);
        certificates.turn().await;
        while !ready.exists() {
            let brief = Duration::from_millis(1);
            assert!(timeout(brief, certificates.turn()).await.is_err());
        }
        certificates.close().await;
        assert!(tidy.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_said_once_a_day_and_when_it_gets_worse() {
        let mut certificates = Certificates::default();
        certificates.remind();
        assert!(certificates.told.is_none());
        let known = |left_out: &[&str]| Known {
            record: Err("damaged".into()),
            left_out: left_out.iter().map(ToString::to_string).collect(),
        };
        let said = |certificates: &mut Certificates| {
            let before = certificates.told;
            certificates.remind();
            certificates.told != before
        };
        certificates.known = Some(known(&[]));
        assert!(said(&mut certificates));
        tokio::time::advance(Duration::from_hours(23)).await;
        assert!(!said(&mut certificates));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(said(&mut certificates));
        certificates.known = Some(known(&["kube-scheduler"]));
        assert!(said(&mut certificates));
        assert!(!said(&mut certificates));
        let lines = reminders(&certificates.status().unwrap());
        assert!(lines[1].contains("kube-scheduler"), "{lines:?}");
    }
}
