//! etcd's messages as its gateway writes and reads them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Member, Status as MemberStatus};

#[derive(Serialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
pub(super) struct Add<'a> {
    #[serde(rename = "peerURLs")]
    pub(super) peer_urls: Vec<&'a str>,
    #[serde(rename = "isLearner")]
    pub(super) is_learner: bool,
}

#[derive(Serialize)]
pub(super) struct Id {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[derive(Serialize)]
pub(super) struct Update<'a> {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "peerURLs")]
    pub(super) peer_urls: &'a [String],
}

#[derive(Deserialize)]
pub(super) struct Members {
    #[serde(default)]
    members: Vec<WireMember>,
}

#[derive(Deserialize)]
pub(super) struct Added {
    pub(super) member: WireMember,
}

#[derive(Deserialize)]
pub(super) struct WireMember {
    #[serde(rename = "ID", deserialize_with = "number")]
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
    #[serde(default, rename = "isLearner")]
    is_learner: bool,
}

impl From<WireMember> for Member {
    fn from(member: WireMember) -> Self {
        Self {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

impl From<Members> for Vec<Member> {
    fn from(list: Members) -> Self {
        list.members.into_iter().map(Member::from).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct Status {
    header: Header,
    #[serde(default)]
    version: String,
    #[serde(default, deserialize_with = "number")]
    leader: u64,
    #[serde(default, rename = "raftIndex", deserialize_with = "number")]
    raft_index: u64,
    #[serde(default, rename = "raftAppliedIndex", deserialize_with = "number")]
    applied_index: u64,
    #[serde(default, rename = "isLearner")]
    is_learner: bool,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    member_id: u64,
}

impl From<Status> for MemberStatus {
    fn from(status: Status) -> Self {
        Self {
            id: status.header.member_id,
            leader: status.leader,
            version: status.version,
            raft_index: status.raft_index,
            applied_index: status.applied_index,
            is_learner: status.is_learner,
            errors: status.errors,
        }
    }
}

/// `{"health":"true"}`; from 3.5 on with a reason.
#[derive(Deserialize)]
pub(super) struct Health {
    pub(super) health: String,
    #[serde(default)]
    pub(super) reason: String,
}

/// proto3's JSON: 64-bit numbers are texts, and may come as numbers.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(u64),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(de::Error::custom),
    }
}

/// As etcdctl shows numbers of members.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) fn hexadecimal<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_kept() {
        let text = r#"{"header":{"cluster_id":"1","member_id":"18446744073709551615"},
            "members":[
            {"ID":"18446744073709551615","name":"m1","peerURLs":["https://a:2380"],"clientURLs":["https://a:2379"]},
            {"ID":"9","peerURLs":["https://b:2380"],"isLearner":true}]}"#;
        let list: Vec<Member> = serde_json::from_str::<Members>(text).unwrap().into();
        assert_eq!(list[0].id, u64::MAX);
        assert!(!list[0].is_learner);
        assert_eq!((list[1].id, list[1].name.as_str()), (9, ""));
        assert!(list[1].is_learner && list[1].client_urls.is_empty());
        let json = serde_json::to_value(&list[0]).unwrap();
        assert_eq!(json["id"], "ffffffffffffffff");
    }

    #[test]
    fn a_member_without_a_leader_says_so_by_leaving_it_out() {
        let text = r#"{"header":{"member_id":"7"},"version":"3.4.13","raftIndex":"12"}"#;
        let status: MemberStatus = serde_json::from_str::<Status>(text).unwrap().into();
        assert_eq!((status.id, status.leader), (7, 0));
        assert_eq!((status.raft_index, status.applied_index), (12, 0));
    }
}
