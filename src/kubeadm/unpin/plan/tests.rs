//! The order across nodes: by cases, and by runs in any order on any nodes.

use proptest::prelude::*;

use super::*;

fn master(number: usize) -> Name {
    Name::parse(&format!("master-{number}.k8s.internal")).unwrap()
}

fn record(master: Option<Name>, done: Option<Stage>) -> Record {
    Record {
        master,
        done,
        at: None,
    }
}

fn change() -> Change {
    Change {
        place: "a file".into(),
        diff: "-a\n+b\n".into(),
    }
}

fn open() -> Stand {
    Stand::Open(vec![change()])
}

/// This master is `me` of `said`, and has done what lies before `next`.
fn on_master(me: usize, said: &[Option<Stage>], next: Stage) -> Facts {
    let masters = said.iter().enumerate();
    let masters = masters.map(|(number, done)| Other {
        name: master(number).to_string(),
        record: Some(record(Some(master(number)), *done)),
        ..Other::default()
    });
    let members = (0..said.len()).filter(|number| *number != me);
    let members = members.map(|number| Member {
        name: format!("master-{number}"),
        healthy: true,
        without: false,
    });
    let stands = Stage::ALL.into_iter();
    let stands = stands.map(|stage| (stage, if stage < next { Stand::Done } else { open() }));
    Facts {
        node: format!("master-{me}"),
        master: Some(master(me)),
        masters: masters.collect(),
        workers: Vec::new(),
        stands: stands.collect(),
        members: members.collect(),
    }
}

fn worker(name: &str, done: Option<Stage>) -> Other {
    Other {
        name: name.into(),
        record: Some(record(None, done)),
        ..Other::default()
    }
}

/// The states in one line.
fn line(facts: &Facts) -> String {
    let word = |step: &Step| match &step.state {
        State::Done => format!("{} done", step.stage),
        State::Ready => format!("{} ready", step.stage),
        State::Stuck(_) => format!("{} stuck", step.stage),
        State::Waits(waits) => {
            let waits = waits.iter();
            let waits = waits.map(|it| {
                let name = it.node.split('.').next().unwrap_or_default();
                format!("{name}:{}", it.stage)
            });
            let waits: Vec<String> = waits.collect();
            format!("{} waits {}", step.stage, waits.join(" "))
        }
    };
    let plan = plan(facts);
    plan.next().map_or_else(|| "complete".into(), word)
}

use Stage::{Addresses, Agent, Apiserver, Certificates, Cluster, Etcd, Kubeconfigs, Peer};

#[test]
fn a_single_master_goes_all_the_way() {
    for stage in Stage::ALL {
        let facts = on_master(0, &[None], stage);
        let plan = plan(&facts);
        assert_eq!(plan.next().map(|step| step.stage), Some(stage));
        assert!(
            plan.steps.iter().all(|step| {
                step.state
                    == if step.stage < stage {
                        State::Done
                    } else {
                        State::Ready
                    }
            }),
            "{plan:?}"
        );
        assert!(plan.elsewhere.is_empty());
    }
}

#[test]
fn a_second_run_finds_nothing() {
    let mut facts = on_master(0, &[Some(Addresses)], Agent);
    facts.stands.values_mut().for_each(|it| *it = Stand::Done);
    assert!(plan(&facts).is_complete());
    assert_eq!(done(&facts.stands), Some(Addresses));
    assert!(plan(&facts).steps.iter().all(|it| it.changes.is_empty()));
}

#[test]
fn three_masters_take_turns() {
    let through = Some(Peer);
    let certs = Some(Certificates);
    for (me, said, next, want) in [
        // Names go into all certificates first.
        (0, [None, None, None], Certificates, "certificates ready"),
        (2, [None, None, None], Certificates, "certificates ready"),
        (
            0,
            [certs, None, certs],
            Kubeconfigs,
            "kubeconfigs waits master-1:certificates",
        ),
        (0, [certs, certs, certs], Kubeconfigs, "kubeconfigs ready"),
        // Then one after the other.
        (
            1,
            [certs, certs, certs],
            Kubeconfigs,
            "kubeconfigs waits master-0:peer",
        ),
        (
            1,
            [Some(Apiserver), certs, certs],
            Kubeconfigs,
            "kubeconfigs waits master-0:peer",
        ),
        (1, [through, certs, certs], Kubeconfigs, "kubeconfigs ready"),
        (2, [through, certs, certs], Etcd, "etcd waits master-1:peer"),
        (
            2,
            [through, None, certs],
            Etcd,
            "etcd waits master-1:certificates",
        ),
        (2, [through, through, certs], Etcd, "etcd ready"),
        // The cluster's objects change when all are through, and the addresses go last.
        (
            0,
            [through, through, certs],
            Cluster,
            "cluster waits master-2:peer",
        ),
        (0, [through, through, through], Cluster, "cluster ready"),
        (0, [through, through, through], Addresses, "addresses ready"),
        (
            1,
            [through, through, through],
            Addresses,
            "addresses waits master-0:addresses",
        ),
        (
            1,
            [Some(Addresses), through, through],
            Addresses,
            "addresses ready",
        ),
    ] {
        assert_eq!(line(&on_master(me, &said, next)), want, "{me} {said:?}");
    }
}

#[test]
fn one_that_is_busy_is_waited_for_even_if_it_comes_later() {
    let mut facts = on_master(0, &[Some(Certificates); 3], Kubeconfigs);
    facts.masters[2].record.as_mut().unwrap().at = Some(Etcd);
    assert_eq!(line(&facts), "kubeconfigs waits master-2:etcd");
    // What restarts nothing disturbs nobody.
    facts.masters[2].record.as_mut().unwrap().at = Some(Certificates);
    assert_eq!(line(&facts), "kubeconfigs ready");
}

#[test]
fn a_master_that_says_nothing_has_done_nothing() {
    let mut facts = on_master(0, &[Some(Certificates); 3], Kubeconfigs);
    facts.masters[1].record = None;
    assert_eq!(line(&facts), "kubeconfigs waits master-1:certificates");
}

#[test]
fn workers_need_agents_first_and_kubeconfigs_before_the_cluster_s_objects() {
    let mut facts = on_master(0, &[Some(Certificates)], Kubeconfigs);
    facts.workers = vec![worker("w1", Some(Agent)), worker("w2", None)];
    assert_eq!(line(&facts), "kubeconfigs waits w2:agent");
    facts.workers[1] = worker("w2", Some(Agent));
    assert_eq!(line(&facts), "kubeconfigs ready");
    facts.stands = on_master(0, &[None], Cluster).stands;
    assert_eq!(line(&facts), "cluster waits w1:peer w2:peer");
    facts.workers = vec![worker("w1", Some(Peer)), worker("w2", Some(Peer))];
    assert_eq!(line(&facts), "cluster ready");
}

#[test]
fn a_worker_looks_at_the_masters_themselves() {
    let serves = |number: usize, serves| Other {
        name: master(number).to_string(),
        serves_names: Some(serves),
        ..Other::default()
    };
    let mut facts = Facts {
        node: "w1".into(),
        masters: vec![serves(0, true), serves(1, false)],
        stands: [(Agent, Stand::Done), (Kubeconfigs, open())].into(),
        ..Facts::default()
    };
    assert_eq!(line(&facts), "kubeconfigs waits master-1:certificates");
    // What is none of a worker's business is behind it.
    assert_eq!(done(&facts.stands), Some(Certificates));
    facts.masters[1] = serves(1, true);
    assert_eq!(line(&facts), "kubeconfigs ready");
    facts.stands.insert(Kubeconfigs, Stand::Done);
    assert_eq!(done(&facts.stands), Some(Peer));
    assert!(plan(&facts).is_complete());
}

#[test]
fn a_dead_node_is_left_out_by_order_only() {
    let mut facts = on_master(0, &[Some(Certificates), None, Some(Certificates)], Etcd);
    facts.members[0].healthy = false;
    assert_eq!(line(&facts), "etcd waits master-1:certificates");
    facts.masters[1].without = true;
    assert_eq!(line(&facts), "etcd stuck");
    facts.members[0].without = true;
    // Two of three live: while one of them restarts, there is no quorum.
    assert_eq!(line(&facts), "etcd stuck");
    assert_eq!(plan(&facts).warnings.len(), 1);
    // For what only asks etcd to change something, two are enough.
    facts.stands = on_master(0, &[None], Peer).stands;
    assert_eq!(line(&facts), "peer ready");
    // Of five, one may be dead.
    let mut five = on_master(0, &[Some(Certificates); 5], Etcd);
    five.members[3].healthy = false;
    assert_eq!(line(&five), "etcd stuck");
    five.members[3].without = true;
    five.masters[4].without = true;
    assert_eq!(line(&five), "etcd ready");
}

#[test]
fn a_sick_member_stops_what_touches_etcd_and_nothing_else() {
    for (stage, want) in [
        (Certificates, "certificates ready"),
        (Kubeconfigs, "kubeconfigs ready"),
        (Etcd, "etcd stuck"),
        (Apiserver, "apiserver stuck"),
        (Peer, "peer stuck"),
        (Addresses, "addresses stuck"),
    ] {
        let mut facts = on_master(0, &[Some(Addresses); 3], stage);
        facts.members[1].healthy = false;
        assert_eq!(line(&facts), want);
    }
}

#[test]
fn what_is_bad_here_stops_what_comes_after_it() {
    let mut facts = on_master(0, &[None], Certificates);
    facts
        .stands
        .insert(Agent, Stand::Bad("no agent runs".into()));
    assert_eq!(line(&facts), "agent stuck");
    assert_eq!(done(&facts.stands), None);
}

#[test]
fn who_is_through_tells_who_is_not() {
    let mut facts = on_master(0, &[Some(Addresses), Some(Peer), Some(Addresses)], Agent);
    facts.stands.values_mut().for_each(|it| *it = Stand::Done);
    facts.workers = vec![worker("w1", Some(Agent))];
    let left = plan(&facts).elsewhere;
    let left: Vec<_> = left.iter().map(|it| (it.node.as_str(), it.stage)).collect();
    assert_eq!(left, [("master-1.k8s.internal", Addresses), ("w1", Peer)]);
}

/// A pretend cluster: what each node has really done, and what it has said.
#[derive(Debug, Clone)]
struct World {
    nodes: Vec<Pretend>,
    cluster: bool,
}

#[derive(Debug, Clone, Default)]
struct Pretend {
    master: Option<Name>,
    done: std::collections::BTreeSet<Stage>,
    said: Option<Record>,
}

impl World {
    fn new(masters: usize, workers: usize) -> Self {
        let masters = (0..masters).map(|number| Pretend {
            master: Some(master(number)),
            ..Pretend::default()
        });
        let workers = (0..workers).map(|_| Pretend::default());
        Self {
            nodes: masters.chain(workers).collect(),
            cluster: false,
        }
    }

    fn stages(&self, node: usize) -> impl Iterator<Item = Stage> {
        let master = self.nodes[node].master.is_some();
        let stages = Stage::ALL.into_iter();
        stages.filter(move |stage| master || stage.is_for_workers())
    }

    fn has(&self, node: usize, stage: Stage) -> bool {
        if stage == Cluster {
            return self.cluster;
        }
        self.nodes[node].done.contains(&stage)
    }

    fn facts(&self, me: usize) -> Facts {
        let mine = self.nodes[me].master.clone();
        let is_worker = mine.is_none();
        let other = |(number, node): (usize, &Pretend)| Other {
            name: node
                .master
                .as_ref()
                .map_or(format!("w{number}"), Name::to_string),
            // A worker sees the masters' certificates instead of their records.
            record: node.said.clone().filter(|_| !is_worker),
            without: false,
            serves_names: is_worker.then(|| node.done.contains(&Certificates)),
        };
        let all: Vec<(usize, &Pretend)> = self.nodes.iter().enumerate().collect();
        let masters = all.iter().filter(|(_, node)| node.master.is_some());
        let workers = all
            .iter()
            .filter(|(_, node)| node.master.is_none() && !is_worker);
        let stand = |stage| {
            if self.has(me, stage) {
                Stand::Done
            } else {
                open()
            }
        };
        Facts {
            node: format!("node-{me}"),
            master: mine,
            masters: masters.copied().map(other).collect(),
            workers: workers.copied().map(other).collect(),
            stands: self.stages(me).map(|stage| (stage, stand(stage))).collect(),
            members: Vec::new(),
        }
    }

    /// Does at most `steps` of what the plan allows. A run that dies says nothing of its last step, and
    /// stays in the middle of it.
    fn run(&mut self, me: usize, steps: usize, dies: bool) {
        self.say(me, None);
        for step in 0..steps {
            let plan = plan(&self.facts(me));
            let Some(next) = plan.next().filter(|next| next.state == State::Ready) else {
                return;
            };
            let stage = next.stage;
            self.say(me, Some(stage));
            self.may(me, stage);
            if stage == Cluster {
                self.cluster = true;
            } else {
                self.nodes[me].done.insert(stage);
            }
            if dies && step + 1 == steps {
                return;
            }
            self.say(me, None);
        }
    }

    fn say(&mut self, me: usize, at: Option<Stage>) {
        let stands = self.facts(me).stands;
        let master = self.nodes[me].master.clone();
        let done = done(&stands);
        self.nodes[me].said = Some(Record { master, done, at });
    }

    /// What has really to be so before a stage is done, whatever anybody has said.
    fn may(&self, me: usize, stage: Stage) {
        let masters = || self.nodes.iter().filter(|node| node.master.is_some());
        let certificates = masters().all(|node| node.done.contains(&Certificates));
        let agents = self.nodes.iter().all(|node| node.done.contains(&Agent));
        let mended = |node: &Pretend| {
            let stages: &[Stage] = match node.master {
                Some(_) => &[Kubeconfigs, Etcd, Apiserver, Peer],
                None => &[Kubeconfigs],
            };
            let done = stages.iter().filter(|stage| node.done.contains(stage));
            (done.count(), stages.len())
        };
        let all_mended = self.nodes.iter().map(mended).all(|(done, all)| done == all);
        let between = |node: &Pretend| {
            let (done, all) = mended(node);
            done > 0 && done < all
        };
        let me_master = self.nodes[me].master.is_some();
        match stage {
            Agent | Certificates => {}
            Kubeconfigs | Etcd | Apiserver | Peer => {
                assert!(certificates, "somebody dials by a name that is not served");
                assert!(agents || !me_master, "a node does not know the names");
                let others = self
                    .nodes
                    .iter()
                    .enumerate()
                    .filter(|(number, _)| *number != me);
                let busy = others.filter(|(_, node)| node.master.is_some() && between(node));
                assert!(!me_master || busy.count() == 0, "two masters at once");
            }
            Cluster => assert!(all_mended, "a node cannot follow the cluster's objects"),
            Addresses => assert!(
                all_mended && self.cluster,
                "an address goes that somebody dials"
            ),
        }
        for earlier in self.stages(me).take_while(|it| *it < stage) {
            assert!(self.has(me, earlier), "{stage} before {earlier}");
        }
    }

    fn is_complete(&self) -> bool {
        let numbers = 0..self.nodes.len();
        numbers
            .into_iter()
            .all(|me| self.stages(me).all(|stage| self.has(me, stage)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whoever runs when, and wherever runs die: the order holds, and going on ends with everything done.
    #[test]
    fn no_order_of_runs_breaks_the_order(
        masters in 1_usize..=5,
        workers in 0_usize..=3,
        runs in prop::collection::vec((0_usize..8, 0_usize..9, any::<bool>()), 0..60),
    ) {
        let mut world = World::new(masters, workers);
        let nodes = masters + workers;
        for (node, steps, dies) in runs {
            world.run(node % nodes, steps, dies);
        }
        // Then everybody goes on until nothing is left: each round brings at least one stage forward.
        for _ in 0..nodes * Stage::ALL.len() {
            for node in 0..nodes {
                world.run(node, Stage::ALL.len(), false);
            }
        }
        prop_assert!(world.is_complete(), "{world:?}");
        for node in 0..nodes {
            let plan = plan(&world.facts(node));
            prop_assert!(plan.is_complete(), "{plan:?}");
        }
    }
}
