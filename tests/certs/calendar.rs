//! 400 days in a folder, one unattended run a day, while addresses change all the time: expiry alone
//! renews.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stayput::address::Loopback;
use stayput::book::{Book, Event, reduce};
use stayput::clock::unix_now;
use stayput::config::cluster::Cluster;
use stayput::config::node::{Node, Role, Selection};
use stayput::name::Name;
use stayput::pki::catalogue::Catalogue;
use stayput::pki::moment::{self, Moment, Synchronised};
use stayput::pki::session::{Did, Done, Hold, Renewal, Session};
use stayput::pki::wanted::{Kind, Wanted, wanted};
use stayput::root::Root;

use crate::sandbox::{Files, Sandbox};

const DAY: i64 = 86_400;
const DAYS: i64 = 400;
const CHANGES_A_DAY: u32 = 25;

/// The cluster file, with other addresses on other days.
fn cluster(day: i64) -> Cluster {
    let address = |master: i64| format!("10.{}.{}.{}", day / 250, day % 250, 10 + master);
    let text = format!(
        "domain: k8s.internal\nendpoint: {{name: api}}\nmasters:\n\
         - {{name: master-1, address: {}}}\n- {{name: master-2, address: {}}}\n\
         - {{name: master-3, address: {}}}\n\
         kubernetes: {{version: \"1.30\"}}\ncertificates: {{keyType: ecdsa-p256}}\n",
        address(1),
        address(2),
        address(3)
    );
    Cluster::parse(&text, Path::new("cluster.yaml"), Loopback::Refused).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// The first master, in a folder.
struct Master {
    sandbox: Sandbox,
    root: Root,
    node: Node,
    runtime: tokio::runtime::Runtime,
}

impl Master {
    fn new() -> Self {
        let sandbox = Sandbox::new("master-1", "");
        Self {
            root: Root::open(&sandbox.path("")).unwrap(),
            sandbox,
            node: Node {
                role: Role::Master(name("master-1.k8s.internal")),
                kubernetes_name: name("master-1"),
                selection: Selection::DefaultRoute,
            },
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// The clock of that moment, and what earlier runs remember.
    fn moment(&self, clock: i64, synchronised: Synchronised) -> Moment {
        let seen = self.root.read(Path::new(moment::PATH), 64).unwrap();
        let seen = seen.map_or(0, |text| {
            String::from_utf8(text).unwrap().trim().parse().unwrap()
        });
        Moment {
            clock,
            seen,
            synchronised,
            trusted: false,
        }
    }

    /// What the timer does.
    fn run(&self, cluster: &Cluster, moment: &Moment) -> Result<Done, String> {
        let renewal = Renewal {
            unattended: true,
            ..Renewal::default()
        };
        let mut hold = Hold::take(&self.root, |_| {}).unwrap();
        let session = Session::open(&mut hold, cluster, &self.node).unwrap();
        let done = self.runtime.block_on(session.renew(&renewal, moment));
        done.map_err(|error| error.to_string())
    }

    fn init(&self, cluster: &Cluster, moment: &Moment) {
        let mut hold = Hold::take(&self.root, |_| {}).unwrap();
        let session = Session::open(&mut hold, cluster, &self.node).unwrap();
        let done = self.runtime.block_on(session.init(true, moment)).unwrap();
        assert!(!done.failed(), "{done:?}");
    }

    fn files(&self) -> Files {
        self.sandbox.files("etc/kubernetes")
    }

    fn wanted(&self, cluster: &Cluster) -> Wanted {
        let catalogue = Catalogue::of(cluster).unwrap();
        wanted(&catalogue, cluster, &self.node)
    }
}

/// The ids that a run has renewed.
fn renewed(done: &Done) -> Vec<String> {
    let rows = done.items.iter().filter(|row| row.did == Did::Renewed);
    rows.map(|row| row.id.clone()).collect()
}

/// The files of these items, below `/etc/kubernetes`.
fn files_of(wanted: &Wanted, ids: &[String]) -> Vec<PathBuf> {
    let items = wanted.items.iter().filter(|item| ids.contains(&item.id));
    let paths = items.flat_map(|item| match &item.kind {
        Kind::Leaf {
            certificate, key, ..
        } => vec![certificate.clone(), key.clone()],
        Kind::Kubeconfig { path, .. } => vec![path.clone()],
        other => panic!("{}: {other:?}", item.id),
    });
    let below = |path: PathBuf| {
        let path = path.strip_prefix("/etc/kubernetes").unwrap();
        path.to_owned()
    };
    let mut paths: Vec<PathBuf> = paths.map(below).collect();
    paths.sort();
    paths
}

fn changed(before: &Files, after: &Files) -> Vec<PathBuf> {
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let differs = |path: &&PathBuf| before[*path] != after[*path];
    before.keys().filter(differs).cloned().collect()
}

/// Addresses change; none of that is heard by certificates.
fn move_masters(mut book: Book, day: i64, now: i64) -> Book {
    let now = u64::try_from(now).unwrap();
    for n in 0..CHANGES_A_DAY {
        let master = name(&format!("master-{}.k8s.internal", n % 3 + 1));
        let day = u8::try_from(day % 250).unwrap();
        let address = [
            172,
            16 + u8::try_from(n).unwrap() % 16,
            day,
            1 + u8::try_from(n).unwrap(),
        ];
        let event = Event::Told {
            name: master,
            addresses: vec![address.into()],
        };
        let next = reduce(&book, &event, now).unwrap();
        assert_ne!(next.generation, book.generation);
        book = next;
    }
    book
}

#[test]
fn expiry_alone_renews_whatever_addresses_do() {
    let master = Master::new();
    let born = i64::try_from(unix_now()).unwrap();
    let first = cluster(0);
    let start = master.wanted(&first);
    master.init(&first, &master.moment(born, Synchronised::Yes));
    let declared = first.masters.iter();
    let declared = declared.map(|m| (m.name.clone(), m.addresses.clone()));
    let declared = Event::Declared(declared.collect());
    let mut book = reduce(&Book::default(), &declared, u64::try_from(born).unwrap()).unwrap();
    let mut renewals: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut files = master.files();
    for day in 1..=DAYS {
        let now = born + day * DAY;
        book = move_masters(book, day, now);
        // The file is rendered with new addresses every ten days.
        let cluster = cluster(day / 10 * 10);
        assert_eq!(master.wanted(&cluster), start, "day {day}");
        let done = master.run(&cluster, &master.moment(now, Synchronised::Yes));
        let done = done.unwrap();
        assert!(!done.failed(), "day {day}: {done:?}");
        let ids = renewed(&done);
        let after = master.files();
        assert_eq!(changed(&files, &after), files_of(&start, &ids), "day {day}");
        for id in ids {
            renewals.entry(id).or_default().push(day);
        }
        files = after;
    }
    assert!(book.generation >= u64::from(CHANGES_A_DAY) * u64::try_from(DAYS).unwrap());
    // Valid for 365 days, due when less than 30 remain: on day 335 it is exactly 30.
    let leaves = start.items.iter().filter(|item| item.authority().is_some());
    let all: BTreeMap<String, Vec<i64>> = leaves.map(|item| (item.id.clone(), vec![336])).collect();
    assert!(all.len() >= 12, "{all:?}");
    assert_eq!(renewals, all);
}

#[test]
fn a_clock_that_cannot_be_trusted_issues_nothing_and_loses_nothing() {
    let master = Master::new();
    let born = i64::try_from(unix_now()).unwrap();
    let cluster = cluster(0);
    let wanted = master.wanted(&cluster);
    master.init(&cluster, &master.moment(born, Synchronised::Yes));
    let files = master.files();
    let run = |day: i64, synchronised| {
        let moment = master.moment(born + day * DAY, synchronised);
        master.run(&cluster, &moment)
    };
    for (day, synchronised, refused) in [
        // Not due: nothing is asked of the clock.
        (100, Synchronised::Yes, None),
        (20, Synchronised::Yes, None),
        (-3650, Synchronised::No, None),
        (101, Synchronised::Unknown, None),
        // A clock that has run ahead without a time service is not remembered either.
        (1500, Synchronised::No, Some("not synchronised")),
        (1501, Synchronised::Unknown, Some("adjtimex(2)")),
        (102, Synchronised::Yes, None),
        // Due by the clock, which nobody vouches for.
        (340, Synchronised::No, Some("not synchronised")),
        (341, Synchronised::Unknown, Some("adjtimex(2)")),
    ] {
        let done = run(day, synchronised);
        match (refused, done) {
            (None, Ok(done)) => {
                assert_eq!(renewed(&done), Vec::<String>::new(), "day {day}");
                assert!(!done.failed(), "day {day}: {done:?}");
            }
            (Some(part), Ok(done)) => {
                let failed = done.items.iter().filter(|row| row.did == Did::Failed);
                let reasons: Vec<&str> = failed.map(|row| row.reason.as_str()).collect();
                let refused = reasons.iter().all(|reason| reason.contains(part));
                assert!(refused && reasons.len() >= 10, "day {day}: {done:?}");
            }
            (refused, done) => panic!("day {day}: {refused:?}, {done:?}"),
        }
        assert_eq!(
            changed(&files, &master.files()),
            Vec::<PathBuf>::new(),
            "day {day}"
        );
    }
    // By a clock that is far ahead the authorities have expired: it is said that the clock may be wrong.
    let far = run(5000, Synchronised::No).unwrap();
    assert!(far.failed());
    assert!(
        far.notices.join(" ").contains("not synchronised"),
        "{far:?}"
    );
    assert_eq!(changed(&files, &master.files()), Vec::<PathBuf>::new());
    // The clock comes back, and what is due is renewed once.
    let done = run(342, Synchronised::Yes).unwrap();
    let ids = renewed(&done);
    assert!(ids.len() >= 10, "{ids:?}");
    let after = master.files();
    assert_eq!(changed(&files, &after), files_of(&wanted, &ids));
    // Back before that: what is there is valid by the newest time, and stays.
    for day in [300, 10, -3650, 343] {
        let done = run(day, Synchronised::Yes).unwrap();
        assert_eq!(renewed(&done), Vec::<String>::new(), "day {day}");
        assert_eq!(
            changed(&after, &master.files()),
            Vec::<PathBuf>::new(),
            "day {day}"
        );
    }
    // Due by the newest time, but the clock has gone back: refused, and nothing is lost.
    let later = master.moment(born + 700 * DAY, Synchronised::Yes);
    later.remember(&master.root, false).unwrap();
    let done = run(500, Synchronised::Yes).unwrap();
    let failed = done.items.iter().find(|row| row.did == Did::Failed);
    let reason = &failed.unwrap().reason;
    assert!(reason.contains("has already seen"), "{reason}");
    assert_eq!(changed(&after, &master.files()), Vec::<PathBuf>::new());
    assert_eq!(renewed(&run(700, Synchronised::Yes).unwrap()), ids);
}
