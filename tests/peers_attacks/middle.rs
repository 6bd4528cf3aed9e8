//! Somebody is between the nodes: whoever dials a master reaches him first, and he passes on what he likes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lab::{Lab, MASTERS, Plan, one_at_a_time};
use crate::measured::measured;
use crate::support::{eventually, here};
use crate::watch::in_vain;

/// From where he comes to those whom he calls.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 60);

/// What he does with what he reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passes,
    /// To these masters nothing comes, and from them.
    Drops(&'static [usize]),
    /// Everything comes so much later, whatever it is.
    Delays(Duration),
    /// In everything a bit is another one.
    Alters,
    /// After so many bytes of a connection he ends it.
    Cuts(usize),
}

struct Middle {
    mode: watch::Sender<Mode>,
    // He is gone when this is dropped.
    _runtime: tokio::runtime::Runtime,
}

impl Middle {
    /// At all places where masters say that they are.
    fn of(lab: &Lab, mode: Mode) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sender = watch::Sender::new(mode);
        for master in 0..MASTERS {
            let behind = lab.members[master].listens;
            for place in lab.places(master) {
                let listener = runtime.block_on(TcpListener::bind(place)).unwrap();
                let mode = sender.subscribe();
                runtime.spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(between(stream, behind, master, mode.clone()));
                    }
                });
            }
        }
        Self {
            mode: sender,
            _runtime: runtime,
        }
    }

    /// Does something else from now on. Connections that he has disturbed end with him.
    fn does(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn between(
    near: TcpStream,
    behind: SocketAddr,
    master: usize,
    mut mode: watch::Receiver<Mode>,
) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((FROM, 0).into()).unwrap();
    let Ok(far) = socket.connect(behind).await else {
        return;
    };
    let (near, far) = (tokio::io::split(near), tokio::io::split(far));
    let now = *mode.borrow_and_update();
    let disturbs = now != Mode::Passes;
    let seen = Arc::new(mode.clone());
    let over = async {
        while mode.changed().await.is_ok() {
            if disturbs {
                return;
            }
        }
    };
    tokio::select! {
        () = pass(near.0, far.1, master, seen.clone()) => {}
        () = pass(far.0, near.1, master, seen.clone()) => {}
        () = over => {}
    }
}

/// One direction.
async fn pass(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    master: usize,
    mode: Arc<watch::Receiver<Mode>>,
) {
    let mut chunk = vec![0; 16_384];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let bytes = &mut chunk[..count];
        let now = *mode.borrow();
        match now {
            Mode::Drops(masters) if masters.contains(&master) => continue,
            Mode::Delays(time) => sleep(time).await,
            Mode::Alters => bytes[count / 2] ^= 1,
            Mode::Cuts(after) if passed > after => return,
            Mode::Passes | Mode::Drops(_) | Mode::Cuts(_) => {}
        }
        passed += count;
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// While he is there a master moves. Nobody has another place for any than the old one or the true one, and
/// when he is gone everybody has the true ones.
fn disturbed(lab: &mut Lab, middle: &Middle, mode: Mode) {
    middle.does(mode);
    let old = lab.truth();
    lab.moves_one();
    let new = lab.truth();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        for member in &lab.members {
            let (book, name) = (member.book(), &member.name);
            let known = |(master, at): (&String, &String)| {
                let said = [&old[master], &new[master]];
                said.contains(&at)
            };
            assert!(book.iter().all(known), "{mode:?}: {name}: {book:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    middle.does(Mode::Passes);
    lab.all_books_are_true("somebody was in the middle, and is gone", Instant::now());
}

#[test]
fn who_is_in_the_middle_only_costs_time() {
    if !here(false, &[]) {
        return;
    }
    let _turn = one_at_a_time();
    let lab = Lab::start(Plan {
        hidden: true,
        unjoined: true,
    });
    // Who dials two of three masters waits for nothing, from the beginning on.
    let middle = Middle::of(&lab, Mode::Drops(&[0, 1]));
    let mut lab = lab.settled();
    let begun = Instant::now();
    for _ in 0..MASTERS {
        lab.a_change_arrives("a master moves while two of three cannot be dialled");
    }
    // Meanwhile who has no certificate has pulled from the third.
    let unjoined = lab.unjoined.as_ref().unwrap();
    eventually("who pulls has heard of all", || {
        let book = unjoined.book();
        let all = book.len() == MASTERS;
        all.then_some(()).ok_or_else(|| format!("{book:?}"))
    });
    measured("peers: one pulls past two of three", begun.elapsed());
    middle.does(Mode::Passes);
    lab.a_change_arrives("a master moves when all can be dialled");

    in_vain(&mut lab, "delays", |lab| {
        middle.does(Mode::Delays(Duration::from_millis(300)));
        lab.a_change_arrives("a master moves while everything is late");
        middle.does(Mode::Passes);
        Vec::new()
    });
    for (what, mode) in [
        ("long delays", Mode::Delays(Duration::from_secs(6))),
        ("drops", Mode::Drops(&[0, 1, 2])),
        ("alters", Mode::Alters),
        ("cuts", Mode::Cuts(3000)),
    ] {
        in_vain(&mut lab, what, |lab| {
            disturbed(lab, &middle, mode);
            Vec::new()
        });
    }
    // Of altered bytes the log says once from where they came, for each way in which that was noticed.
    for member in &lab.members[..MASTERS] {
        let log = member.peers.log();
        let named = log
            .lines()
            .filter(|line| line.contains(&format!("no connection with {FROM}: ")));
        let mut words: Vec<&str> = named.filter_map(|it| it.split("  WARN ").nth(1)).collect();
        println!("{}: {words:#?}", member.name);
        assert!((1..=6).contains(&words.len()), "{words:#?}");
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all, "{words:#?}");
    }
}
