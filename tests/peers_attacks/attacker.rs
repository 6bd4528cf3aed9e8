//! Somebody with a certificate of the cluster's, or with another, who says what nobody should.

use std::net::SocketAddr;
use std::time::Duration;

use stayput::peers::gossip::{Identity, NodeName, Who};
use stayput::peers::transport::frame::Purpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::authority::{Authority, Leaf, now};
use crate::forge::Frame;
use crate::raw::{Raw, frames};
use crate::support::PATIENCE;

/// Runs what an attacker does.
pub(crate) fn attack<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, work).await.expect("the attack ends") })
}

pub(crate) async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// A member by a kubelet's certificate that the authority really signed.
pub(crate) struct Insider {
    pub(crate) me: Identity,
    pub(crate) raw: Raw,
}

impl Insider {
    pub(crate) fn new(authority: &Authority, name: &str) -> Self {
        let who = Who::Worker(NodeName::parse(name).unwrap());
        let generation = now().try_into().unwrap();
        Self {
            me: Identity::new(who, generation, Vec::new()).unwrap(),
            raw: Raw::new(Some(authority.issue(&Leaf::node(name)))),
        }
    }

    /// Greets a node as an honest member does, and hears from it who it is.
    pub(crate) async fn joins(&self, at: SocketAddr) -> Session {
        let stream = self.raw.say(at, Purpose::Member, &[]).await.unwrap();
        let mut session = Session {
            me: self.me.clone(),
            them: self.me.clone(),
            unanswered: 0,
            stream,
        };
        // Its hello.
        session.frame().await;
        session.compares().await;
        session.them = loop {
            if let Some(Frame::Swim(packet)) = session.next().await {
                let header: foca::Header<Identity> = postcard::take_from_bytes(&packet).unwrap().0;
                break header.src;
            }
        };
        session
    }
}

/// A member's connection with a node.
pub(crate) struct Session {
    me: Identity,
    pub(crate) them: Identity,
    /// Comparisons that the node has not answered yet.
    unanswered: usize,
    stream: TlsStream<TcpStream>,
}

impl Session {
    /// Says a frame; whether it was taken.
    pub(crate) async fn say(&mut self, frame: &[u8]) -> bool {
        self.write(&frames(&[frame])).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Says that it holds nothing; the answer is what the node holds.
    async fn compares(&mut self) {
        self.unanswered += 1;
        let (me, digest) = (self.me.clone(), [0; 32]);
        assert!(self.say(&Frame::Compare { me, digest }.encode()).await);
    }

    /// Waits until the node has looked at everything that was said before.
    pub(crate) async fn is_heard_out(&mut self) {
        self.compares().await;
        while self.unanswered > 0 {
            self.next().await;
        }
    }

    /// The next frame, if it can be read.
    async fn next(&mut self) -> Option<Frame> {
        let bytes = self.frame().await;
        let frame = postcard::from_bytes(&bytes).ok();
        if let Some(Frame::Summary { .. }) = frame {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        frame
    }

    async fn frame(&mut self) -> Vec<u8> {
        let length = self.stream.read_u32().await.unwrap();
        let mut bytes = vec![0; length.try_into().unwrap()];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }
}
