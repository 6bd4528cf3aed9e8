//! `stayput replace`.

use clap::Args;

use super::speak::{Speaker, text};
use crate::cli::context::{Context, Failure, block_on};
use crate::cli::output;
use crate::name::Name;
use crate::peers::carry::Hash;
use crate::peers::trust::Trust;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplaceArgs {
    /// The master: its short or its full name
    name: String,
}

pub(super) fn replace(context: &Context, args: &ReplaceArgs) -> Result<u8, Failure> {
    let spoken = block_on(async {
        let speaker = Speaker::open(context).await?;
        let master = speaker.find(&args.name)?;
        speaker.standing.may_replace(&master, &speaker.own)?;
        let domain = &speaker.view.cluster.domain;
        let statement = speaker.ledger.replacement(domain, &master, speaker.now());
        let mut spoken = speaker.say(context, &statement).await?;
        spoken.next = next(&master, &speaker.own, speaker.trust());
        Ok(spoken)
    })?;
    output::print(context.global.output, &spoken, text)?;
    Ok(spoken.code())
}

fn next(master: &Name, own: &Name, trust: &Trust) -> Vec<String> {
    let (label, from) = (master.label(), own.label());
    let hash = trust.authorities.first().map(Hash::of);
    let hash = hash.as_ref().map_or("sha256:…", Hash::as_str);
    vec![
        format!("keep the old machine off for good; if its etcd member is still there: stayput kubeadm leave-etcd --name {label}"),
        format!("on the new machine: ssh {from} stayput certs bundle | stayput certs unbundle"),
        "there: stayput certs init (if it has a pair `stayput` already: stayput certs renew --force stayput)".to_owned(),
        format!("there: ssh {from} stayput export | stayput import --ca-hash {hash}"),
        "there: join it as docs/kubeadm.md tells; it speaks for itself as soon as stayput-peers runs".to_owned(),
    ]
}
