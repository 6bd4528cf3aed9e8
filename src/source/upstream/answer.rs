//! What an answer means: the chain of aliases flattened into addresses, and what is refused.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_resolver::proto::rr::{Name as DnsName, RData, Record};

use super::{Error, Look};
use crate::address::{AddressError, Loopback, usable};
use crate::config::Cluster;
use crate::name::Name;

/// The names that the cluster has for itself.
#[derive(Debug, Clone)]
pub struct Ours {
    domain: Name,
    aliases: BTreeSet<Name>,
}

impl Ours {
    /// The names of a cluster: its domain with all that is below it, and its aliases.
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            domain: cluster.domain.clone(),
            aliases: cluster.aliases.keys().cloned().collect(),
        }
    }

    /// Whether a name is ours; it need not be a host name (`_x.k8s.internal`), and its case and its
    /// final dot do not matter.
    pub fn holds(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below = |rest: &str| rest.is_empty() || rest.ends_with('.');
        self.aliases.contains(name.as_str())
            || name.strip_suffix(self.domain.as_str()).is_some_and(below)
    }
}

/// What a question for one family has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Usable addresses.
    pub addresses: Vec<IpAddr>,
    /// Addresses that a master cannot have.
    pub unusable: Vec<AddressError>,
    /// The shortest time to live on the way, in seconds.
    pub ttl: Option<u32>,
    /// There is not even the name.
    pub no_such_name: bool,
}

impl Found {
    /// There is no such record, or not even the name.
    pub fn nothing(no_such_name: bool) -> Self {
        Self {
            no_such_name,
            ..Self::default()
        }
    }
}

/// Follows the chain of CNAMEs through an answer to its addresses (RFC 1034 section 3.6.2). Records
/// that do not belong to the chain are passed over.
pub fn follow(
    name: &Name,
    question: &DnsName,
    records: &[Record],
    ours: &Ours,
    loopback: Loopback,
) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut at = question;
    let mut ttl = u32::MAX;
    // As many steps as there are records: a circle ends too.
    for _ in records {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *at => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            break;
        };
        let through = target.to_ascii();
        if ours.holds(&through) {
            let through = through.trim_end_matches('.').to_owned();
            let name = name.clone();
            return Err(Error::Ours { name, through });
        }
        ttl = ttl.min(alias_ttl);
        at = target;
    }
    for record in records.iter().filter(|record| record.name == *at) {
        let address: IpAddr = match &record.data {
            RData::A(address) => address.0.into(),
            RData::AAAA(address) => address.0.into(),
            _ => continue,
        };
        ttl = ttl.min(record.ttl);
        found.ttl = Some(ttl);
        match usable(address, loopback) {
            Ok(address) => found.addresses.push(address),
            Err(problem) => found.unusable.push(problem),
        }
    }
    Ok(found)
}

/// What both families together mean.
///
/// The families that answer count. One that no server could be asked for keeps its part of `last`;
/// one that is known to be empty is gone, unless the other one has nothing to show either.
pub fn combine(
    name: &Name,
    v4: Result<Found, Error>,
    v6: Result<Found, Error>,
    last: &[IpAddr],
) -> Look {
    let mut look = Look {
        result: Ok(Vec::new()),
        notices: Vec::new(),
        ttl: None,
    };
    let mut addresses = Vec::new();
    let (mut answered, mut no_such_name) = (false, true);
    let mut unusable = Vec::new();
    let mut failures = Vec::new();
    for (found, ipv6) in [(v4, false), (v6, true)] {
        match found {
            Ok(found) => {
                answered |= !found.addresses.is_empty();
                no_such_name &= found.no_such_name;
                look.ttl = look.ttl.into_iter().chain(found.ttl).min();
                addresses.extend(found.addresses);
                unusable.extend(found.unusable);
            }
            Err(failure) => {
                addresses.extend(last.iter().filter(|a| a.is_ipv6() == ipv6));
                failures.push(failure);
            }
        }
    }
    let loops = failures.iter().find(|f| matches!(f, Error::Ours { .. }));
    let problem = if let Some(error) = loops {
        Some(error.clone())
    } else if answered {
        None
    } else if let Some(error) = failures.first() {
        Some(error.clone())
    } else if let Some(problem) = unusable.first() {
        Some(Error::Unusable {
            name: name.clone(),
            problem: problem.clone(),
        })
    } else if no_such_name {
        Some(Error::NoSuchName(name.clone()))
    } else {
        Some(Error::NoAddress(name.clone()))
    };
    if let Some(error) = problem {
        look.result = Err(error);
        return look;
    }
    addresses.sort();
    addresses.dedup();
    look.result = Ok(addresses);
    let notices = unusable
        .iter()
        .map(|p| format!("an address of {name} is not taken: {p}"));
    look.notices = notices
        .chain(failures.iter().map(ToString::to_string))
        .collect();
    look
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
    use proptest::prelude::*;

    fn ours() -> Ours {
        let aliases = ["k8s.example.com", "old-name.prod.k8s.internal"];
        Ours {
            domain: "prod.k8s.internal".parse().unwrap(),
            aliases: aliases.iter().map(|a| a.parse().unwrap()).collect(),
        }
    }

    fn dns(name: &str) -> DnsName {
        DnsName::from_ascii(format!("{name}.")).unwrap()
    }

    /// `OWNER TTL TARGET`, where the target is an address or a name.
    fn record(line: &str) -> Record {
        let words: Vec<&str> = line.split_whitespace().collect();
        let data = match words[2].parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => RData::A(A(address)),
            Ok(IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
            Err(_) => RData::CNAME(CNAME(dns(words[2]))),
        };
        Record::from_rdata(dns(words[0]), words[1].parse().unwrap(), data)
    }

    fn follow_lines(lines: &[&str]) -> Result<Found, Error> {
        let records: Vec<Record> = lines.iter().map(|line| record(line)).collect();
        let name: Name = "m3.example.com".parse().unwrap();
        follow(
            &name,
            &dns("m3.example.com"),
            &records,
            &ours(),
            Loopback::Refused,
        )
    }

    fn found(addresses: &[&str]) -> Found {
        Found {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ttl: Some(60),
            ..Found::default()
        }
    }

    #[test]
    fn knows_its_own_names() {
        for name in [
            "prod.k8s.internal",
            "Master-1.PROD.k8s.internal.",
            "_etcd._tcp.prod.k8s.internal",
            "k8s.example.com.",
        ] {
            assert!(ours().holds(name), "{name}");
        }
        for name in [
            "k8s.internal",
            "xprod.k8s.internal",
            "x.k8s.example.com",
            "internal",
            "",
        ] {
            assert!(!ours().holds(name), "{name}");
        }
    }

    #[test]
    fn flattens_a_chain_in_any_order() {
        let lines = [
            "M3.example.com 300 vm.Cloud.example",
            "vm.cloud.example 20 ip-1.cloud.example",
            "ip-1.cloud.example 60 10.77.0.13",
            "ip-1.cloud.example 60 10.77.0.12",
            "stranger.example 1 10.0.0.66",
        ];
        let turned: Vec<&str> = lines.iter().rev().copied().collect();
        for lines in [&lines[..], &turned] {
            let mut answer = follow_lines(lines).unwrap();
            answer.addresses.sort();
            let want = ["10.77.0.12", "10.77.0.13"].map(|a| a.parse::<IpAddr>().unwrap());
            assert_eq!(
                (answer.addresses.as_slice(), answer.ttl),
                (&want[..], Some(20))
            );
        }
    }

    #[test]
    fn refuses_chains_into_its_own_names() {
        for target in [
            "master-1.prod.k8s.internal",
            "PROD.k8s.internal",
            "k8s.example.com",
        ] {
            let direct = format!("m3.example.com 60 {target}");
            let address = format!("{target} 60 10.77.0.13");
            let later = format!("b.example 60 {target}");
            for lines in [
                &[direct.as_str(), &address][..],
                &["m3.example.com 60 b.example", &later, &address],
            ] {
                let error = follow_lines(lines).unwrap_err().to_string();
                assert!(error.contains("the cluster's own name"), "{error}");
            }
        }
    }

    #[test]
    fn a_circle_ends() {
        let circle = ["m3.example.com 60 b.example", "b.example 60 m3.example.com"];
        assert_eq!(follow_lines(&circle).unwrap(), Found::default());
    }

    #[test]
    fn passes_over_unusable_addresses() {
        let lines = [
            "m3.example.com 60 127.0.0.1",
            "m3.example.com 60 10.77.0.13",
        ];
        let found = follow_lines(&lines).unwrap();
        assert_eq!(found.addresses, ["10.77.0.13".parse::<IpAddr>().unwrap()]);
        assert_eq!(found.unusable.len(), 1);
    }

    #[test]
    fn families() {
        let name: Name = "m3.example.com".parse().unwrap();
        let none = || Ok(Found::nothing(false));
        let failed = || Err(Error::NoServers("dns.upstream"));
        let last = "10.77.0.1 fd77::1";
        for (what, v4, v6, want) in [
            (
                "both",
                Ok(found(&["10.77.0.2"])),
                Ok(found(&["fd77::2"])),
                "[10.77.0.2, fd77::2]",
            ),
            (
                "one answers",
                Ok(found(&["10.77.0.2"])),
                none(),
                "[10.77.0.2]",
            ),
            (
                "one fails",
                Ok(found(&["10.77.0.2"])),
                failed(),
                "[10.77.0.2, fd77::1]",
            ),
            (
                "the other fails",
                failed(),
                Ok(found(&["fd77::2"])),
                "[10.77.0.1, fd77::2]",
            ),
            ("none, failed", none(), failed(), "no server to ask"),
            ("both fail", failed(), failed(), "no server to ask"),
            ("neither", none(), none(), "neither an A nor an AAAA"),
            (
                "no name",
                Ok(Found::nothing(true)),
                Ok(Found::nothing(true)),
                "NXDOMAIN",
            ),
        ] {
            let last: Vec<IpAddr> = last.split(' ').map(|a| a.parse().unwrap()).collect();
            let shown = match combine(&name, v4, v6, &last).result {
                Ok(addresses) => format!("{addresses:?}"),
                Err(error) => error.to_string(),
            };
            assert!(shown.contains(want), "{what}: {shown}");
        }
    }

    proptest! {
        /// Whatever a server sends: no address comes from a name of ours, and the walk ends.
        #[test]
        fn no_answer_leads_back(edges in prop::collection::vec((0usize..6, 0usize..8), 0..12)) {
            const NAMES: [&str; 6] = [
                "m3.example.com", "a.example", "b.example", "k8s.example.com",
                "master-1.prod.k8s.internal", "c.example",
            ];
            let records: Vec<Record> = edges.iter().map(|(from, to)| {
                let target = NAMES.get(*to).map_or_else(|| format!("10.0.{from}.{to}"), ToString::to_string);
                record(&format!("{} 60 {target}", NAMES[*from]))
            }).collect();
            let name: Name = NAMES[0].parse().unwrap();
            if let Ok(found) = follow(&name, &dns(NAMES[0]), &records, &ours(), Loopback::Refused) {
                for address in found.addresses {
                    let IpAddr::V4(v4) = address else { unreachable!() };
                    prop_assert!(!ours().holds(NAMES[usize::from(v4.octets()[2])]));
                }
            }
        }
    }
}
