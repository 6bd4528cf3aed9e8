//! One DNS question over UDP, written and read by hand: no code under test takes part.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Result, eventually};

/// A reply that has not come by then is asked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// A socket that asks one server.
pub(crate) struct Asker {
    socket: UdpSocket,
    id: u16,
}

impl Asker {
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PAUSE))?;
        Ok(Self { socket, id: 0 })
    }

    /// Asks until the name has this address.
    pub(crate) fn until(&mut self, name: &str, address: Ipv4Addr) -> Result {
        eventually("DNS says the new address", || {
            Ok((self.look(name)? == Some(address)).then_some(()))
        })
    }

    /// The name's address; `None` where nobody answers yet, or not with an address.
    pub(crate) fn look(&mut self, name: &str) -> Result<Option<Ipv4Addr>> {
        match self.ask(name) {
            Ok(address) => Ok(address),
            // Nobody listens yet, or a reply was lost.
            Err(error) if is_silence(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn ask(&mut self, name: &str) -> io::Result<Option<Ipv4Addr>> {
        self.id = self.id.wrapping_add(1);
        let request = question(self.id, name);
        self.socket.send(&request)?;
        let mut reply = [0; 512];
        loop {
            let length = self.socket.recv(&mut reply)?;
            // What comes late belongs to an earlier question.
            if reply[..2] == request[..2] {
                return Ok(address(&reply[..length], request.len()));
            }
        }
    }
}

/// A question for A (RFC 1035 section 4.1).
pub(crate) fn question(id: u16, name: &str) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The first answer's address: behind header and question, a compressed name of two octets, type,
/// class, TTL and length.
fn address(reply: &[u8], question_end: usize) -> Option<Ipv4Addr> {
    let no_error = reply.get(3)? % 16 == 0;
    let some = reply.get(6..8)? != [0, 0];
    let record = reply.get(question_end..)?;
    let is_a = record.get(2..4)? == [0, 1] && record.get(10..12)? == [0, 4];
    let address: [u8; 4] = record.get(12..16)?.try_into().ok()?;
    (no_error && some && is_a).then_some(address.into())
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}

/// Answers every question with the same address, with no thought: what the sockets alone cost. The
/// benchmark starts itself for this, in a process of its own.
pub(crate) fn answer_blindly(listen: SocketAddr) -> Result {
    let socket = UdpSocket::bind(listen)?;
    let mut message = [0; 512];
    // The name by a pointer behind the header, A, IN, a TTL of 5 s, four octets.
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 64, 0, 1];
    loop {
        let (length, source) = socket.recv_from(&mut message)?;
        let end = length + answer.len();
        if let Some(place) = message.get_mut(length..end) {
            place.copy_from_slice(&answer);
            message[2..4].copy_from_slice(&[0x85, 0]);
            message[6..8].copy_from_slice(&[0, 1]);
            socket.send_to(&message[..end], source)?;
        }
    }
}
