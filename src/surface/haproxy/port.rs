//! Who holds a port, so that "address already in use" comes with a name.
//!
//! Read from `/proc/net/tcp` and `tcp6` (proc(5)), which show the listening sockets of the agent's
//! own network namespace, and from the descriptors of other processes. Those only root sees, and
//! under the shipped unit not even root does (`ProtectProc=invisible`, no `CAP_SYS_PTRACE`): then it
//! is known that a port is held, but not by whom, and it may be by HAProxy itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Where it listens; the unspecified address means on all.
    pub address: SocketAddr,
    /// Its id and its command's name; `None` where that cannot be seen.
    pub process: Option<(u32, String)>,
}

impl Holder {
    /// Its process's id, where that can be seen.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|(pid, _)| *pid)
    }

    /// Whether it is known to be another process than the one with this id.
    pub fn is_not(&self, pid: u32) -> bool {
        self.pid().is_some_and(|own| own != pid)
    }

    /// Whether its command has this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.process.as_ref().is_some_and(|(_, own)| own == name)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "{name} (pid {pid}) on {}", self.address),
            None => write!(
                f,
                "a process that cannot be seen from here, possibly HAProxy itself, on {}",
                self.address
            ),
        }
    }
}

/// Who listens where a program that binds `wanted` would be refused. Blocks on files in `/proc`.
pub fn holder(wanted: SocketAddr) -> Option<Holder> {
    if is_free(wanted) {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let table = |path| std::fs::read_to_string(path).unwrap_or_default();
    let listener = tables
        .into_iter()
        .flat_map(|path| listeners(&table(path)))
        .find(|listener| conflicts(listener.address, wanted))?;
    Some(Holder {
        address: listener.address,
        process: process_of(listener.inode),
    })
}

/// Whether a program could listen there. It is asked again and again while HAProxy does not run, and to
/// make those tables costs the kernel a walk over all places for connections that there could be.
///
/// A socket that is bound and does not listen is in nobody's way (`SO_REUSEADDR`, socket(7)).
fn is_free(wanted: SocketAddr) -> bool {
    let bind = || {
        let family = match wanted {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &wanted)
    };
    bind().is_ok()
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    inode: u64,
}

fn listeners(table: &str) -> Vec<Listener> {
    table.lines().filter_map(listener).collect()
}

/// One line: slot, local address, remote address, state, … with the inode as tenth field.
fn listener(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTEN {
        return None;
    }
    Some(Listener {
        address: SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address as words of 32 bits, each in the machine's own order, which keeps them in network
/// order in memory.
fn ip(hexadecimal: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hexadecimal.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hexadecimal.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

fn conflicts(held: SocketAddr, wanted: SocketAddr) -> bool {
    held.port() == wanted.port() && (held.ip() == wanted.ip() || held.ip().is_unspecified())
}

fn process_of(inode: u64) -> Option<(u32, String)> {
    let socket = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        descriptors
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(&socket)))
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .find(|(_, path)| holds(path))
        .map(|(pid, path)| {
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            (pid, name.trim_end().to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_the_kernel_s_tables() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0\n   \
             1: 0100007F:20FC 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0 100 0 0 10 0\n";
        let tcp6 = "   0: 00000000000000000000000000000000:192B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0\n";
        let listener = |address: &str, inode| Listener {
            address: address.parse().unwrap(),
            inode,
        };
        assert_eq!(listeners(tcp), [listener("127.0.0.1:8443", 12345)]);
        assert_eq!(listeners(tcp6), [listener("[::]:6443", 777)]);
        assert_eq!(listeners("nonsense\n0: x:y\n"), []);
    }

    #[test]
    fn a_listener_on_all_addresses_is_in_the_way() {
        let wanted = "127.0.0.1:8443".parse().unwrap();
        for (held, want) in [
            ("127.0.0.1:8443", true),
            ("0.0.0.0:8443", true),
            ("[::]:8443", true),
            ("127.0.0.2:8443", false),
            ("127.0.0.1:8444", false),
        ] {
            assert_eq!(conflicts(held.parse().unwrap(), wanted), want, "{held}");
        }
    }

    #[test]
    fn finds_this_very_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let holder = holder(address).unwrap();
        assert_eq!(holder.address, address);
        assert_eq!(holder.process.unwrap().0, std::process::id());
        drop(socket);
        assert_eq!(super::holder(address), None);
    }
}
