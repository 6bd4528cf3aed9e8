//! This master's own words: when they are due they are signed, saved, and told.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::command::Verdict;
use super::life::{After, Daemon};
use crate::address::usable;
use crate::name::Name;
use crate::peers::duty::{Duty, Made, Speaker, Why};
use crate::peers::pace::Pace;
use crate::peers::record::Digest;
use crate::peers::sign::{CERTIFICATE, Signer};
use crate::peers::statement::{ADDRESSES, Statement};

/// For so long after a move the own record is shown by multicast, whoever answers.
const SHOWN: Duration = Duration::from_secs(10);

/// What a master speaks with.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// None on a worker, and before there is a certificate.
    signer: Option<Signer>,
    made: Option<Made>,
    pace: Pace,
    /// When it may contradict again.
    again: Option<Instant>,
    /// Why it does not speak, or cannot.
    pub(super) problem: Option<String>,
    /// Until when the own record is shown by multicast.
    shown_until: Option<Instant>,
}

impl Voice {
    /// Speaks with another key, or none.
    pub(super) fn sign_with(&mut self, signer: Option<Signer>) {
        self.signer = signer;
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// When it is to be asked again.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    pub(super) fn show_for_a_while(&mut self) {
        self.shown_until = Some(Instant::now() + SHOWN);
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown_until.is_some_and(|until| Instant::now() < until)
    }

    /// What is wrong is said once.
    fn complain(&mut self, problem: Option<String>) {
        if let Some(problem) = &problem
            && self.problem.as_ref() != Some(problem)
        {
            tracing::warn!("{problem}");
        }
        self.problem = problem;
    }
}

impl Daemon {
    /// Signs where this master is, if nothing that counts says so.
    pub(super) fn speak(&mut self) {
        self.voice.again = None;
        let Some(signer) = &self.voice.signer else {
            return self.voice.complain(None);
        };
        let own = self.book.as_ref().and_then(|book| book.own.as_ref());
        let Some(own) = own else {
            return;
        };
        if let Some(problem) = other_name(signer.master(), &own.name) {
            return self.voice.complain(Some(problem));
        }
        if !self.records.can_judge() {
            return;
        }
        let loopback = self.root.loopback();
        let good = own.place.addresses.iter();
        let good = good.filter_map(|address| usable(*address, loopback).ok());
        let addresses: Vec<IpAddr> = good.take(ADDRESSES).collect();
        let speaker = Speaker::of(signer, self.voice.made.clone());
        let now = self.records.now();
        match self.records.ledger().must_sign(&speaker, &addresses, now) {
            Duty::Nothing => self.voice.complain(None),
            Duty::Silent(silence) => self.voice.complain(Some(silence.to_string())),
            Duty::Sign { statement, why } => self.sign(&statement, &addresses, why),
        }
    }

    fn sign(&mut self, statement: &Statement, addresses: &[IpAddr], why: Why) {
        let now = self.now();
        if why == Why::Contradicted {
            if let Some(left) = self.voice.pace.contradict(now) {
                self.voice.again = Some(Instant::now() + left);
                return;
            }
            let contested = self.voice.pace.is_contested().then(|| {
                format!(
                    "another machine speaks as {} too, and says that it is elsewhere: is this machine there twice?",
                    statement.master
                )
            });
            self.voice.complain(contested);
        }
        let Some(signer) = &self.voice.signer else {
            return;
        };
        let made = signer.sign(statement);
        let made = made.and_then(|record| Ok(record.encode()?));
        let record = match made {
            Ok(record) => record,
            Err(error) => return self.voice.complain(Some(error.to_string())),
        };
        match self.records.take(&record) {
            Verdict::News => {}
            // For instance because the certificate has ended.
            Verdict::Refused(why) => {
                let problem = format!("this master's own record would not be believed: {why}");
                return self.voice.complain(Some(problem));
            }
            Verdict::Known | Verdict::Outdone => return,
        }
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        tracing::info!(version = statement.version, why = ?why, "signed: {} is at {}", statement.master, texts.join(" "));
        self.counts.signed += 1;
        self.voice.made = Some(Made {
            digest: Digest::of(&record),
            addresses: addresses.to_vec(),
        });
        self.disk.after_saving(After::Tell(record));
        self.voice.show_for_a_while();
    }

    /// This master's own word that counts, encoded.
    pub(super) fn own_record(&self) -> Option<Vec<u8>> {
        let own = self.voice.signer.as_ref()?.master();
        let ledger = self.records.ledger();
        let digest = ledger.effective_of(own)?.digest;
        let mut records = ledger.records();
        let held = records.find(|held| held.verified.digest() == digest)?;
        Some(held.verified.bytes().to_vec())
    }
}

/// What is wrong where the certificate to speak with is not this node's, as after a copy of another's disk.
fn other_name(certified: &Name, own: &Name) -> Option<String> {
    (certified != own).then(|| {
        format!(
            "{CERTIFICATE} is {certified}'s, and this node is {own}: it does not speak; `stayput certs renew --force stayput` issues its own"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::sample::master;

    #[test]
    fn a_certificate_of_another_name_is_a_problem_that_names_both() {
        let [m1, m2] = ["m1", "m2"].map(master);
        assert_eq!(other_name(&m1, &m1), None);
        let problem = other_name(&m1, &m2).unwrap();
        for part in [
            CERTIFICATE,
            &format!("{m1}'s"),
            &format!("is {m2}:"),
            "`stayput certs renew --force stayput`",
        ] {
            assert!(problem.contains(part), "{problem} lacks {part}");
        }
    }
}
