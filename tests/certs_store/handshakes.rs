//! A TLS server that reads its pair at every handshake, as etcd does, while the pair is replaced.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::node::{CERTIFICATE, KEY, Node, apiserver};
use crate::pair::{Pair, client, handshake, serve_one};

const SWAPS: usize = 200;
const PATIENCE: Duration = Duration::from_mins(2);

/// Ends the server, also when the test fails: it waits in accept.
struct Ending<'a>(&'a AtomicBool, SocketAddr);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.1);
    }
}

#[test]
fn only_a_handshake_within_a_swap_can_fail() {
    let first = Pair::new();
    let node = Node::with(&first);
    let (certificate, key) = (node.path(CERTIFICATE), node.path(KEY));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Odd while a swap is under way.
    let moment = AtomicUsize::new(0);
    let (handshakes, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (swapped, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    // What the server has to show, by the number of swaps.
    let served = Mutex::new(vec![first.der()]);
    std::thread::scope(|scope| {
        let _ending = Ending(&ended, address);
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                serve_one(&listener, &certificate, &key);
            }
        });
        let client = scope.spawn(|| {
            let config = client();
            loop {
                let last = swapped.load(Ordering::SeqCst);
                let before = moment.load(Ordering::SeqCst);
                let shown = handshake(&config, address);
                let quiet = before.is_multiple_of(2) && moment.load(Ordering::SeqCst) == before;
                failed.fetch_add(usize::from(shown.is_err()), Ordering::SeqCst);
                handshakes.fetch_add(1, Ordering::SeqCst);
                if quiet {
                    let want = served.lock().unwrap()[before / 2].clone();
                    assert_eq!(shown, Ok(want), "outside of a swap, after {}", before / 2);
                }
                if last {
                    break;
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        for _ in 0..SWAPS {
            // At least one whole handshake between two swaps.
            let seen = handshakes.load(Ordering::SeqCst);
            while handshakes.load(Ordering::SeqCst) < seen + 2 {
                assert!(Instant::now() < deadline, "the client has stopped");
                std::thread::yield_now();
            }
            let new = Pair::new();
            let set = apiserver(&new);
            moment.fetch_add(1, Ordering::SeqCst);
            node.replace(&[set]).unwrap();
            served.lock().unwrap().push(new.der());
            moment.fetch_add(1, Ordering::SeqCst);
        }
        swapped.store(true, Ordering::SeqCst);
        client.join().unwrap();
    });
    let (handshakes, failed) = (handshakes.into_inner(), failed.into_inner());
    println!("{SWAPS} swaps, {handshakes} handshakes, {failed} failed");
    assert!(handshakes >= 2 * SWAPS);
    node.assert_clean("in the end");
}
