//! What an attack must leave as it was, and what the log must say of it.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::lab::{Lab, MASTERS, Member};
use crate::measured::measured;
use crate::support::eventually;

/// Resident memory may grow by so many KiB in one attack: 256 frames of 64 KiB may wait to be looked at, and
/// the allocator needs some.
const MEMORY: u64 = 24 << 10;
/// Files that are open beside those of before, when all is over: 32 nodes may be dialled at a time.
const FILES: usize = 32 + 12;
/// The folder of a node's process may have so many bytes.
const DISK: u64 = 1 << 20;

/// What a node was like before.
struct Before {
    records: Vec<Value>,
    memory: u64,
    files: usize,
}

/// Whom the log has to name, and the lines: each of these once, and no others.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) who: String,
    pub(crate) lines: Vec<&'static str>,
}

impl Told {
    pub(crate) fn new(who: &str, lines: &[&'static str]) -> Self {
        Self {
            who: who.to_owned(),
            lines: lines.to_vec(),
        }
    }
}

/// Carries out an attack, and sees to it that it was in vain: masters are where they say themselves that they
/// are. What the attack returns is what the log has to say.
pub(crate) fn in_vain(lab: &mut Lab, what: &str, attack: impl FnOnce(&mut Lab) -> Vec<Told>) {
    let before: Vec<Before> = lab.members.iter().map(Before::of).collect();
    let (begun, moves) = (Instant::now(), lab.moves);
    let told = attack(lab);
    measured(&format!("attack: {what}"), begun.elapsed());
    for (member, before) in lab.members.iter().zip(&before) {
        let name = &member.name;
        assert_eq!(member.book(), lab.truth(), "{what}: the book of {name}");
        let records = digests(member);
        // A master's new record has taken the place of its old one.
        assert_eq!(records.len(), MASTERS, "{what}: {name}");
        if moves == lab.moves {
            assert_eq!(records, before.records, "{what}: {name}");
        }
        for told in &told {
            is_told(member, told, what);
        }
    }
    lab.a_change_arrives(&format!("a master moves, after {what}"));
    for (member, before) in lab.members.iter().zip(&before) {
        before.is_within_bounds(member, what);
        for told in &told {
            is_told(member, told, what);
        }
    }
}

impl Before {
    fn of(member: &Member) -> Self {
        Self {
            records: digests(member),
            memory: memory(member),
            files: files(member),
        }
    }

    fn is_within_bounds(&self, member: &Member, what: &str) {
        let name = &member.name;
        let memory = memory(member);
        let grown = memory.saturating_sub(self.memory);
        println!("{what}: {name} has {memory} KiB, {grown} more than before");
        assert!(
            grown <= MEMORY,
            "{what}: {name} has taken {grown} KiB of memory"
        );
        let disk = size(&member.node.path("var/lib/stayput/peers"));
        assert!(disk <= DISK, "{what}: {name} has {disk} bytes on disk");
        eventually(&format!("{what}: files of {name} are closed"), || {
            let now = files(member);
            if now <= self.files + FILES {
                Ok(())
            } else {
                Err(format!("{now} are open, {} were before", self.files))
            }
        });
    }
}

/// Waits until all is said that has to be; then nothing else may have been.
fn is_told(member: &Member, told: &Told, what: &str) {
    let says = || -> Vec<String> {
        let log = member.peers.log();
        let names = |line: &&str| {
            let mut words = line.split(|c: char| c.is_whitespace() || ":,#".contains(c));
            words.any(|word| word == told.who)
        };
        log.lines().filter(names).map(str::to_owned).collect()
    };
    let of = |lines: &[String], part: &str| lines.iter().filter(|it| it.contains(part)).count();
    let name = &member.name;
    eventually(
        &format!("{what}: the log of {name} names {}", told.who),
        || {
            let lines = says();
            let lacks = told.lines.iter().find(|part| of(&lines, part) == 0);
            lacks.map_or(Ok(()), |part| Err(format!("no {part:?} in {lines:#?}")))
        },
    );
    let lines = says();
    for part in &told.lines {
        assert_eq!(of(&lines, part), 1, "{what}: {name}: {part}: {lines:#?}");
    }
    assert_eq!(
        lines.len(),
        told.lines.len(),
        "{what}: {name} says more: {lines:#?}"
    );
}

fn digests(member: &Member) -> Vec<Value> {
    let records = member.records();
    let records = records.as_array().unwrap();
    records.iter().map(|it| it["digest"].clone()).collect()
}

/// Resident memory of a process for peers in KiB, as the kernel counts it (proc(5)).
fn memory(member: &Member) -> u64 {
    let path = format!("/proc/{}/status", member.peers.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

fn files(member: &Member) -> usize {
    let folder = format!("/proc/{}/fd", member.peers.pid());
    std::fs::read_dir(folder).unwrap().count()
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    // A temporary file may be gone by now.
    let sizes = entries.filter_map(|it| it.metadata().ok());
    sizes.map(|it| it.len()).sum()
}
