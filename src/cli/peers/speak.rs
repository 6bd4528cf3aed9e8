//! What a master says of another at an operator's wish: read its key, sign, give away, report.

use std::fmt::Write;

use serde::Serialize;

use super::give::{Given, give};
use super::held;
use crate::api::identity;
use crate::book::Says as Said;
use crate::cli::context::{Context, Failure};
use crate::cli::{exit, show};
use crate::clock;
use crate::config::peers::Mode;
use crate::name::Name;
use crate::peers::control::message::{Kind, Word, base64};
use crate::peers::ledger::Ledger;
use crate::peers::order::{Refusal, Standing};
use crate::peers::sign::{self, Signer};
use crate::peers::statement::{Says, Statement};
use crate::peers::trust::{Time, Trust};
use crate::root::Root;
use crate::view::View;

/// A master that can say something of others.
pub(super) struct Speaker {
    pub(super) root: Root,
    pub(super) view: View,
    /// Its own name.
    pub(super) own: Name,
    pub(super) standing: Standing,
    pub(super) ledger: Ledger,
    trust: Trust,
    signer: Signer,
}

/// What was signed, and to whom it was given.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spoken {
    /// Whether anything was signed.
    signed: bool,
    master: Name,
    says: Kind,
    /// Null where nothing was signed, as all below.
    version: Option<u64>,
    /// From when on certificates of the new machine count; only of a replacement.
    not_before: Option<String>,
    signer: Option<Name>,
    /// The record in base64.
    record: Option<String>,
    #[serde(flatten)]
    given: Option<Given>,
    /// What to do next, one step each.
    pub(super) next: Vec<String>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = if refusal.is_mistake() {
            exit::BAD_DATA
        } else {
            exit::DISAGREES
        };
        Self::new(code, refusal)
    }
}

impl From<sign::Error> for Failure {
    fn from(error: sign::Error) -> Self {
        match error {
            sign::Error::File(identity::Error::Missing(path)) => {
                let text = format!(
                    "{} is not there, and without it this master cannot speak; `stayput certs renew stayput` issues it",
                    path.display()
                );
                Self::new(exit::UNAVAILABLE, text)
            }
            other => Self::new(exit::UNAVAILABLE, other),
        }
    }
}

impl Speaker {
    /// This master, with all that it knows.
    pub(super) async fn open(context: &Context) -> Result<Self, Failure> {
        let root = context.root()?;
        let (cluster, node) = context.load(&root)?;
        let Some(own) = node.master().cloned() else {
            let text = format!(
                "{} is a worker, and only masters sign; run this on a master that stays",
                node.kubernetes_name
            );
            return Err(Failure::new(exit::BAD_DATA, text));
        };
        if cluster.peers.mode == Mode::Off {
            let text = "peers.mode is off in the cluster file, where no signed record counts; nothing is signed: take the master out of the file, or turn peers on";
            return Err(Failure::new(exit::BAD_DATA, text));
        }
        let signer = Signer::load(&root, &cluster.domain)?;
        let begun = signer.certificate().certificate.not_before;
        let trust = held::trust(&root, &cluster, Some(begun))?;
        let holding = held::held(&root, &trust).await?;
        for notice in &holding.notices {
            eprintln!("stayput: {notice}");
        }
        let view = show::in_force(context, &root).await?;
        let masters = view.cluster.masters.iter();
        let removed = view.book.signed.iter();
        let removed = removed.filter(|(_, signed)| signed.says == Said::Removed);
        let standing = Standing::of(
            masters.map(|master| master.name.clone()),
            removed.map(|(name, _)| name.clone()),
            &holding.ledger,
        );
        Ok(Self {
            root,
            own,
            standing,
            ledger: holding.ledger,
            view,
            trust,
            signer,
        })
    }

    /// What this node trusts.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The present time for what is signed, in Unix time; a clock that stands before what is known is wrong.
    pub(super) fn now(&self) -> u64 {
        match self.trust.time {
            Time::At(now) | Time::AtLeast(now) => u64::try_from(now).unwrap_or(0),
            Time::Any => clock::unix_now(),
        }
    }

    /// Whom an operator means.
    pub(super) fn find(&self, text: &str) -> Result<Name, Failure> {
        Ok(self.standing.find(text, &self.view.cluster.domain)?)
    }

    /// Signs a statement and gives it away.
    pub(super) async fn say(
        &self,
        context: &Context,
        statement: &Statement,
    ) -> Result<Spoken, Failure> {
        if statement.version == u64::MAX {
            let text = format!(
                "a record of {} has the greatest version of all, and none can be signed above it",
                statement.master
            );
            return Err(Failure::new(exit::DISAGREES, text));
        }
        let record = self.signer.sign(statement)?;
        let bytes = record.encode().map_err(sign::Error::from)?;
        let given = give(
            context,
            &self.root,
            &self.trust,
            std::slice::from_ref(&bytes),
        )
        .await?;
        if let Some(verdict) = given.verdicts.iter().find(|it| it.verdict != Word::News) {
            let reason = verdict
                .reason
                .as_deref()
                .unwrap_or(verdict.verdict.as_str());
            let text = format!("what was signed is not taken on this very node: {reason}");
            return Err(Failure::new(exit::DISAGREES, text));
        }
        let not_before = match statement.says {
            Says::Replaced { not_before } => Some(clock::date(not_before)),
            Says::At(_) | Says::Removed => None,
        };
        Ok(Spoken {
            signed: true,
            master: statement.master.clone(),
            says: Kind::of(&statement.says),
            version: Some(statement.version),
            not_before,
            signer: Some(self.own.clone()),
            record: Some(base64(&bytes)),
            given: Some(given),
            next: Vec::new(),
        })
    }
}

impl Spoken {
    /// It was said before.
    pub(super) fn already(master: Name, says: Kind) -> Self {
        Self {
            signed: false,
            master,
            says,
            version: None,
            not_before: None,
            signer: None,
            record: None,
            given: None,
            next: Vec::new(),
        }
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        if self.given.as_ref().is_some_and(Given::failed) {
            exit::DISAGREES
        } else {
            exit::OK
        }
    }
}

/// For people.
pub(super) fn text(spoken: &Spoken) -> String {
    let (master, says) = (&spoken.master, spoken.says.as_str());
    let mut text = match spoken.version {
        None => format!("{master} was {says} already: nothing to do\n"),
        Some(version) => format!("{master} is {says}, signed as version {version}\n"),
    };
    if let Some(from) = &spoken.not_before {
        let _ = writeln!(
            text,
            "what it says counts under certificates from {from} on"
        );
    }
    for line in spoken.given.iter().flat_map(Given::lines) {
        let _ = writeln!(text, "{line}");
    }
    if !spoken.next.is_empty() {
        text += "next:\n";
    }
    for (number, step) in spoken.next.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", number + 1);
    }
    text
}
