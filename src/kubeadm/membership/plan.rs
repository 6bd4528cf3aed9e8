//! What the member list says is to be done. Pure.

use crate::api::etcd::Member;

/// A master as etcd is to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// `--name`: by kubeadm's rule the Node object's name.
    pub name: String,
    /// Where the others reach it, by name.
    pub peer_url: String,
}

/// The next step of a master that joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is not there.
    Add,
    /// It is a learner of this number: let it run, then promote it.
    Promote(u64),
    /// It has its vote.
    Member(u64),
}

/// Why the member list forbids it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A member of that name is reached elsewhere.
    #[error(
        "etcd has a member {name} already, at {urls}; if that is this master, give it its name with `stayput kubeadm unpin`, or take it out with `stayput kubeadm leave-etcd --name {name}`"
    )]
    OtherUrls {
        /// The member.
        name: String,
        /// Its peer URLs.
        urls: String,
    },
    /// Another one is being added.
    #[error(
        "etcd has a learner already, {who}, and takes one at a time; wait until it has its vote, or take it out with `stayput kubeadm leave-etcd --name`"
    )]
    Learner {
        /// Its name, or its peer URLs.
        who: String,
    },
}

/// What a master that wants to join does next.
pub fn next(members: &[Member], me: &Me) -> Result<Next, Refusal> {
    if let Some(mine) = members.iter().find(|member| is_mine(member, me)) {
        return Ok(if mine.is_learner {
            Next::Promote(mine.id)
        } else {
            Next::Member(mine.id)
        });
    }
    if let Some(other) = members.iter().find(|member| member.name == me.name) {
        return Err(Refusal::OtherUrls {
            name: other.name.clone(),
            urls: other.peer_urls.join(", "),
        });
    }
    if let Some(learner) = members.iter().find(|member| member.is_learner) {
        return Err(Refusal::Learner {
            who: called(learner),
        });
    }
    Ok(Next::Add)
}

/// Whether a member is reached by this master's name.
pub fn is_mine(member: &Member, me: &Me) -> bool {
    member
        .peer_urls
        .iter()
        .any(|url| same_url(url, &me.peer_url))
}

/// etcd keeps what it was given; a final slash means nothing.
fn same_url(one: &str, other: &str) -> bool {
    let bare = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    bare(one) == bare(other)
}

/// A member for people: its name, or where it is reached while it has none.
pub fn called(member: &Member) -> String {
    match member.name.as_str() {
        "" => member.peer_urls.join(", "),
        name => name.to_owned(),
    }
}

/// `--initial-cluster`: every member's peer URLs by name, this one's included; members that have not
/// started have no name and are left out.
pub fn initial_cluster(members: &[Member], me: &Me) -> String {
    let mut entries = Vec::new();
    for member in members {
        let name = if is_mine(member, me) {
            &me.name
        } else {
            &member.name
        };
        if name.is_empty() {
            continue;
        }
        entries.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    // etcd lists members by number; here equal clusters give equal bytes.
    entries.sort();
    entries.join(",")
}

/// Who is to leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaver {
    /// Its number, where the member itself has told it.
    pub id: Option<u64>,
    /// What its `--name` may be.
    pub names: Vec<String>,
    /// Hosts that its peer URLs may have: names and addresses.
    pub hosts: Vec<String>,
    /// Names of the other masters: whoever has one of these is not meant, wherever it is reached. etcd may
    /// have an address for it that is the leaver's by now.
    pub others: Vec<String>,
}

/// More than one member fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "several members of etcd fit: {0}; nothing was removed. Say which one with `stayput kubeadm leave-etcd --name`, or remove it by its number with `etcdctl member remove`"
)]
pub struct Ambiguous(String);

/// The member that is meant: by number, else by name, else by a host in its peer URLs, unless its name is
/// another master's.
pub fn find<'a>(members: &'a [Member], leaver: &Leaver) -> Result<Option<&'a Member>, Ambiguous> {
    let by_id = |member: &Member| Some(member.id) == leaver.id;
    let by_name = |member: &Member| !member.name.is_empty() && leaver.names.contains(&member.name);
    let by_host = |member: &Member| {
        let mut hosts = member.peer_urls.iter().filter_map(|url| host(url));
        !leaver.others.contains(&member.name) && hosts.any(|host| leaver.hosts.contains(&host))
    };
    let ways: [&dyn Fn(&Member) -> bool; 3] = [&by_id, &by_name, &by_host];
    for way in ways {
        let found: Vec<&Member> = members.iter().filter(|member| way(member)).collect();
        match found[..] {
            [] => {}
            [only] => return Ok(Some(only)),
            _ => return Err(Ambiguous(listed(&found))),
        }
    }
    Ok(None)
}

fn listed(members: &[&Member]) -> String {
    let told = |member: &&Member| {
        let (id, urls) = (member.id, member.peer_urls.join(", "));
        match member.name.as_str() {
            "" => format!("{id:x} (not started, {urls})"),
            name => format!("{id:x} ({name}, {urls})"),
        }
    };
    let texts: Vec<String> = members.iter().map(told).collect();
    texts.join("; ")
}

fn host(url: &str) -> Option<String> {
    crate::api::directory::host_and_port(url)
        .ok()
        .map(|(host, _)| host)
}

/// Why a member must not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bar {
    /// Nobody would be left.
    #[error("{0} is the only member that votes: without it there is no etcd, and no cluster")]
    Last(String),
    /// Too few of the rest are well.
    #[error(
        "without {leaver} {well} of {voters} members would be well ({sick}), and etcd needs {needed}; mend them first"
    )]
    NoMajority {
        /// Who wants to leave.
        leaver: String,
        /// Members left that vote.
        voters: usize,
        /// Of these, well ones.
        well: usize,
        /// The others, and why.
        sick: String,
        /// A majority.
        needed: usize,
    },
    /// There would be a majority, and nothing to spare.
    #[error("not all of the others are well ({sick}); mend this first, or leave with --force")]
    Sick {
        /// Members, and why.
        sick: String,
    },
}

impl Bar {
    /// Whether `--force` does it all the same.
    pub fn gives_way(&self) -> bool {
        matches!(self, Self::Sick { .. })
    }
}

/// Whether a member may leave, given the others that are not well: their numbers, and for people who and
/// why.
pub fn may_leave(members: &[Member], leaver: &Member, sick: &[(u64, String)]) -> Result<(), Bar> {
    if leaver.is_learner {
        return Ok(());
    }
    let stays = |member: &&Member| member.id != leaver.id && !member.is_learner;
    let voters: Vec<&Member> = members.iter().filter(stays).collect();
    if voters.is_empty() {
        return Err(Bar::Last(called(leaver)));
    }
    let reason = |member: &&Member| sick.iter().find(|(id, _)| *id == member.id);
    let ill: Vec<&str> = voters
        .iter()
        .filter_map(|member| reason(member).map(|(_, text)| text.as_str()))
        .collect();
    let (well, needed) = (voters.len() - ill.len(), voters.len() / 2 + 1);
    if well < needed {
        return Err(Bar::NoMajority {
            leaver: called(leaver),
            voters: voters.len(),
            well,
            sick: ill.join("; "),
            needed,
        });
    }
    if !ill.is_empty() {
        return Err(Bar::Sick {
            sick: ill.join("; "),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
