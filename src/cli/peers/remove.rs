//! `stayput remove`.

use clap::Args;

use super::speak::{Speaker, Spoken, text};
use crate::api::etcd;
use crate::cli::context::{Context, Failure, block_on};
use crate::cli::{exit, output};
use crate::kubeadm::membership::{self, plan};
use crate::name::Name;
use crate::peers::control::message::Kind;
use crate::peers::order::Removal;

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    /// The master: its short or its full name
    name: String,
    /// Although no member of etcd on another master answers and is healthy, so that nobody can tell whether
    /// this one is still a member: etcd runs elsewhere, or is dead for good
    #[arg(long)]
    without_etcd: bool,
    /// Although it is the master that this runs on, as its last word
    #[arg(long)]
    myself: bool,
}

pub(super) fn remove(context: &Context, args: &RemoveArgs) -> Result<u8, Failure> {
    let spoken = block_on(async {
        let speaker = Speaker::open(context).await?;
        let master = speaker.find(&args.name)?;
        let removal = speaker
            .standing
            .may_remove(&master, &speaker.own, args.myself)?;
        if removal == Removal::Done {
            return Ok(Spoken::already(master, Kind::Removed));
        }
        out_of_etcd(&speaker, &master, args.without_etcd).await?;
        let domain = &speaker.view.cluster.domain;
        let statement = speaker.ledger.removal(domain, &master, speaker.now());
        let mut spoken = speaker.say(context, &statement).await?;
        spoken.next = next(&master);
        Ok(spoken)
    })?;
    output::print(context.global.output, &spoken, text)?;
    Ok(spoken.code())
}

/// Refuses while the master is a member of etcd, or nobody can tell: the others would lose a member's
/// address, and with it perhaps their majority.
async fn out_of_etcd(speaker: &Speaker, master: &Name, without: bool) -> Result<(), Failure> {
    let label = master.label();
    match membership::member_of(&speaker.root, &speaker.view, master).await {
        Ok(None) => Ok(()),
        Ok(Some(member)) => {
            let text = format!(
                "{label} is a member of etcd ({}, {:x}), and is not removed before it is out of it: run `stayput kubeadm leave-etcd` there, or if its machine is gone `stayput kubeadm leave-etcd --name {label}` here",
                plan::called(&member),
                member.id
            );
            Err(Failure::new(exit::DISAGREES, text))
        }
        Err(error) if is_silence(&error) && without => Ok(()),
        Err(error) => {
            let advice = if is_silence(&error) {
                "; if etcd runs elsewhere, or is dead for good, give --without-etcd"
            } else {
                ""
            };
            let text =
                format!("whether {label} is a member of etcd cannot be told: {error}{advice}");
            Err(Failure::new(exit::UNAVAILABLE, text))
        }
    }
}

/// Nobody answers, or this machine has nothing to ask with: no answer that speaks against it.
fn is_silence(error: &membership::Error) -> bool {
    match error {
        membership::Error::Nobody(_) => true,
        membership::Error::Etcd(error) => {
            matches!(error, etcd::Error::Identity(_)) || error.is_absent()
        }
        _ => false,
    }
}

fn next(master: &Name) -> Vec<String> {
    let label = master.label();
    vec![
        format!(
            "turn {label} off, or run `kubeadm reset` there; its node object goes by `kubectl delete node`"
        ),
        format!(
            "the line of {label} in the cluster files has no effect any more, and may be taken out when it suits"
        ),
        format!("for a new machine of that name: stayput replace {label}"),
    ]
}
