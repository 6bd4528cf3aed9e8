use super::*;

fn node(name: &str) -> Peer {
    Peer::Node(name.into())
}

fn at(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 8442).into()
}

fn to(name: &str) -> To {
    To::Peer(node(name), vec![at(1)])
}

struct World {
    pool: Pool,
    now: Instant,
}

impl World {
    fn new(limits: &Limits) -> Self {
        Self {
            pool: Pool::new(limits),
            now: Instant::now(),
        }
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
    }

    fn push(&mut self, to: To) -> Pushed {
        self.pool.push(to, vec![1], true, self.now)
    }

    /// To somebody who is only told of.
    fn push_to_told(&mut self, to: To) -> Pushed {
        self.pool.push(to, vec![1], false, self.now)
    }

    /// This node is `m`.
    fn connected(&mut self, name: &str, dialled: bool) -> Option<New> {
        let own = node("m");
        let from = at(if dialled { 1 } else { 2 });
        let pool = &mut self.pool;
        pool.connected(&node(name), Some(&own), from, dialled, self.now)
    }

    fn taken(&mut self, new: &New) -> usize {
        self.pool.take(new.id, self.now, &mut Vec::new())
    }

    fn names(&self) -> Vec<String> {
        let all = self.pool.list(self.now).into_iter();
        all.map(|each| each.peer.to_string()).collect()
    }
}

fn told(new: &mut New) -> Option<End> {
    new.end.try_recv().ok()
}

#[test]
fn what_waits_is_dialled_once_and_written_once() {
    let mut world = World::new(&Limits::default());
    assert_eq!(world.push(to("a")).dial, Some(Key::Peer(node("a"))));
    assert_eq!(world.push(to("a")).dial, None);
    let (addresses, _) = world.pool.targets(&Key::Peer(node("a"))).unwrap();
    assert_eq!(addresses, [at(1)]);
    world
        .pool
        .reached(&Key::Peer(node("a")), &node("a"), world.now);
    let new = world.connected("a", true).unwrap();
    assert_eq!((world.taken(&new), world.taken(&new)), (2, 0));
    assert_eq!(world.push(to("a")), Pushed::default());
    assert_eq!(world.taken(&new), 1);
    assert_eq!(world.pool.bytes, 0);
}

#[test]
fn what_waits_for_whoever_is_there_goes_to_who_is() {
    let mut world = World::new(&Limits::default());
    let key = Key::Address(at(1));
    assert_eq!(world.push(To::Address(at(1))).dial, Some(key.clone()));
    world.push(to("a"));
    world.pool.reached(&key, &node("a"), world.now);
    let new = world.connected("a", true).unwrap();
    assert_eq!(world.taken(&new), 2);
    assert_eq!(world.push(To::Address(at(1))), Pushed::default());
    assert_eq!(world.taken(&new), 1);
    assert_eq!(world.pool.lines.len(), 1);
}

#[test]
fn peers_that_dial_each_other_keep_the_same_connection() {
    // This node is m. The smaller name's connection stays, in whatever order they come.
    for (peer, kept_is_dialled) in [("a", false), ("z", true)] {
        for first_is_dialled in [false, true] {
            let mut world = World::new(&Limits::default());
            let mut first = world.connected(peer, first_is_dialled).unwrap();
            let mut second = world.connected(peer, !first_is_dialled).unwrap();
            let first_kept = first_is_dialled == kept_is_dialled;
            let ends = (told(&mut first), told(&mut second));
            let want = if first_kept {
                (None, Some(End::Gently))
            } else {
                (Some(End::Gently), None)
            };
            assert_eq!(ends, want, "{peer} {first_is_dialled}");
            world.push(to(peer));
            let kept = if first_kept { &first } else { &second };
            assert_eq!(world.taken(kept), 1);
            assert_eq!(world.pool.list(world.now).len(), 1);
        }
    }
}

#[test]
fn a_newer_connection_takes_the_place_of_an_old_one() {
    for (dialled, later) in [(true, 0), (false, 0), (true, 5), (false, 5)] {
        let mut world = World::new(&Limits::default());
        let mut old = world.connected("a", dialled).unwrap();
        world.later(Duration::from_secs(later));
        let opposite = later > 0;
        let mut new = world.connected("a", dialled != opposite).unwrap();
        assert_eq!(told(&mut old), Some(End::Gently), "{dialled} {later}");
        assert_eq!(told(&mut new), None);
        assert_eq!(world.pool.closed(old.id), None);
        world.push(to("a"));
        assert_eq!(world.taken(&new), 1);
    }
}

#[test]
fn the_one_that_was_silent_longest_makes_room() {
    let mut world = World::new(&Limits {
        connections: 2,
        ..Limits::default()
    });
    let a = world.connected("a", true).unwrap();
    world.later(Duration::from_secs(1));
    world.connected("b", true).unwrap();
    world.later(Duration::from_secs(1));
    world.pool.received(a.id, 1, world.now);
    world.connected("c", false).unwrap();
    assert_eq!(world.names(), ["node a", "node c"]);
}

#[test]
fn silence_and_age_end_a_connection() {
    let limits = Limits::default();
    let mut world = World::new(&limits);
    let mut new = world.connected("a", true).unwrap();
    world.later(limits.idle / 2);
    world.pool.sweep(world.now);
    world.pool.received(new.id, 1, world.now);
    world.later(limits.idle / 2);
    world.pool.sweep(world.now);
    assert_eq!(told(&mut new), None);
    world.later(limits.idle);
    world.pool.sweep(world.now);
    assert_eq!(told(&mut new), Some(End::Gently));
    world.pool.closed(new.id);
    world.later(Duration::from_mins(1));
    world.pool.sweep(world.now);
    assert!(world.pool.lines.is_empty(), "nothing is remembered");

    let mut busy = world.connected("a", true).unwrap();
    for _ in 0..=limits.age.as_secs() / 30 {
        world.pool.received(busy.id, 1, world.now);
        world.pool.sweep(world.now);
        world.later(Duration::from_secs(30));
    }
    assert_eq!(told(&mut busy), Some(End::Gently));
}

#[test]
fn whoever_moved_is_dialled_anew() {
    let mut world = World::new(&Limits::default());
    let mut a = world.connected("a", true).unwrap();
    let mut b = world.connected("b", true).unwrap();
    world.pool.moved(&node("a"));
    assert_eq!((told(&mut a), told(&mut b)), (Some(End::Now), None));
    let dial = world.push(to("a")).dial;
    assert_eq!(dial, Some(Key::Peer(node("a"))));
    world.pool.end_all();
    assert_eq!(told(&mut b), Some(End::Now));
}

#[test]
fn what_waits_when_a_connection_breaks_is_dialled_again() {
    let mut world = World::new(&Limits::default());
    let a = world.connected("a", false).unwrap();
    world.push(to("a"));
    let key = Key::Peer(node("a"));
    assert_eq!(world.pool.closed(a.id), Some(key.clone()));
    assert_eq!(world.push(to("a")).dial, None, "it is being dialled");
    assert_eq!(world.pool.give_up(&key), 2);
    assert_eq!(world.pool.targets(&key).map(|_| ()), None);
}

/// A frame now and then comes when nothing is owed: a wait that takes longer than it should is no rest.
#[test]
fn a_flood_is_one_however_late_its_frames_are_read() {
    let limits = Limits {
        frames_rate: (200, 1000),
        flood: Duration::from_secs(10),
        ..Limits::default()
    };
    for late in [0, 6] {
        let mut world = World::new(&limits);
        let mut connection = world.connected("a", false).unwrap();
        for _ in 0..1000 {
            let received = world.pool.received(connection.id, 1, world.now);
            assert_eq!(received, super::Received::default());
        }
        let begun = world.now;
        let mut frames = 0;
        loop {
            let received = world.pool.received(connection.id, 1, world.now);
            if received.floods {
                break;
            }
            frames += 1;
            world.now += received.wait;
            if !received.wait.is_zero() {
                world.now += Duration::from_millis(late);
            }
            // A new connection is no rest either.
            if frames % 500 == 0 {
                world.pool.finished(connection.id);
                world.pool.closed(connection.id);
                connection = world.connected("a", false).unwrap();
            }
            assert!(frames < 5000, "never a flood");
        }
        let took = world.now - begun;
        assert!(took >= limits.flood && took < limits.flood * 2, "{took:?}");
    }
    // Who rests between does not flood.
    let mut world = World::new(&limits);
    let connection = world.connected("a", false).unwrap();
    for _ in 0..10 {
        for _ in 0..1100 {
            assert!(!world.pool.received(connection.id, 1, world.now).floods);
        }
        world.now += Duration::from_secs(6);
    }
}

#[test]
fn a_flood_is_slowed_and_its_sender_kept_out_for_a_while() {
    let limits = Limits {
        frames_rate: (10, 20),
        ..Limits::default()
    };
    let mut world = World::new(&limits);
    let a = world.connected("a", false).unwrap();
    let waits: Vec<_> = (0..40)
        .map(|_| world.pool.received(a.id, 1, world.now).wait)
        .collect();
    assert!(waits[..20].iter().all(Duration::is_zero));
    assert_eq!(waits[39], Duration::from_secs(2));
    // Another connection is no way around it.
    let again = world.connected("a", false).unwrap();
    let wait = world.pool.received(again.id, 1, world.now).wait;
    assert!(wait > Duration::from_secs(2));
    world.pool.bar(&node("a"), world.now);
    assert!(world.connected("a", false).is_none());
    assert!(world.connected("b", false).is_some());
    // What waits for it does not count for ever.
    world.pool.finished(a.id);
    world.pool.closed(a.id);
    world.pool.finished(again.id);
    world.pool.closed(again.id);
    world.push(to("a"));
    assert_eq!(world.pool.bytes, 1);
    assert!(world.connected("a", true).is_none());
    assert_eq!(world.pool.give_up(&Key::Peer(node("a"))), 1);
    assert_eq!(world.pool.bytes, 0);
    world.later(limits.flood);
    assert!(world.connected("a", false).is_some());
}

#[test]
fn what_waits_is_bounded_for_each_and_for_all() {
    let limits = Limits {
        queue_frames: 4,
        queues_bytes: 100,
        ..Limits::default()
    };
    let mut world = World::new(&limits);
    let dropped: usize = (0..10).map(|_| world.push(to("a")).dropped).sum();
    assert_eq!((dropped, world.pool.bytes), (6, 4));
    let mut dropped = 0;
    for number in 0..200 {
        dropped += world.push(to(&format!("n{number}"))).dropped;
    }
    assert_eq!((dropped, world.pool.bytes), (104, 100));
    for number in 0..10_000 {
        world.push(to(&format!("n{number}")));
    }
    assert!(world.pool.lines.len() <= LINES);
}

#[test]
fn who_is_only_told_of_leaves_room() {
    let mut world = World::new(&Limits {
        queues_bytes: 100,
        ..Limits::default()
    });
    for number in 0..100 {
        world.push_to_told(to(&format!("invented-{number}")));
    }
    assert_eq!(world.pool.bytes, 50);
    let dropped: usize = (0..50)
        .map(|number| world.push(to(&format!("met-{number}"))).dropped)
        .sum();
    assert_eq!((dropped, world.pool.bytes), (0, 100));

    let mut world = World::new(&Limits::default());
    for number in 0..10_000 {
        world.push_to_told(to(&format!("invented-{number}")));
    }
    assert_eq!(world.pool.lines.len(), LINES / 2);
    let met = world.push(to("met"));
    assert!(met.dropped == 0 && met.dial.is_some());
}

#[test]
fn new_addresses_wake_the_dialler() {
    let mut world = World::new(&Limits::default());
    world.push(to("a"));
    let (_, news) = world.pool.targets(&Key::Peer(node("a"))).unwrap();
    let woken = |news: &Notify| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let notified = std::pin::pin!(news.notified());
        notified.poll(&mut context).is_ready()
    };
    world.push(to("a"));
    assert!(!woken(&news));
    world.push(To::Peer(node("a"), vec![at(9)]));
    assert!(woken(&news));
    let (addresses, _) = world.pool.targets(&Key::Peer(node("a"))).unwrap();
    assert_eq!(addresses, [at(9)]);
}
