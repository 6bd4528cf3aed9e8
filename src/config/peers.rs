//! The section `peers`: how nodes tell each other where masters are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::claims::Claims;
use super::names::Names;
use super::read::{Fields, Value};
use super::report::Report;
use super::scalar;
use crate::address::{self, AddressError, Loopback};
use crate::name::Name;

/// Where peers listen and are dialled, unless the cluster file says otherwise.
pub const PORT: u16 = 8442;
/// The addresses to listen on, and the seeds: at most so many of each.
pub const MOST: usize = 16;

/// How nodes tell each other where masters are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Whether they do.
    pub mode: Mode,
    /// Where each node listens (TCP), and where it dials the others.
    pub port: u16,
    /// The addresses to listen on; all of the node's where empty.
    pub listen: Vec<IpAddr>,
    /// Whether records are also sent and heard by multicast on the links.
    pub multicast: bool,
    /// Whom to ask besides the nodes that are known, in the order of the file.
    pub seeds: Vec<Seed>,
    /// Where Prometheus may ask, on loopback; nowhere unless the file says so. Any process of the machine
    /// may ask there, and learns who is in the cluster and where, so it is for the operator to want it.
    pub metrics: Option<SocketAddr>,
}

/// Whether nodes tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As soon as the node has something to prove itself with.
    Auto,
    /// Never.
    Off,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Who.
    pub host: Host,
    /// At which port; [`Peers::port`] where the file does not say.
    pub port: u16,
}

/// A seed's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// This address, canonical.
    Address(IpAddr),
    /// The addresses of this upstream name.
    Name(Name),
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            port: PORT,
            listen: Vec::new(),
            multicast: true,
            seeds: Vec::new(),
            metrics: None,
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Reads the section. Nothing is listened on, so nothing is claimed, where it is off.
pub(super) fn read(
    file: &Fields<'_>,
    names: &Names,
    rules: Loopback,
    claims: &mut Claims,
    report: &mut Report,
) -> Option<Peers> {
    let known = ["mode", "port", "listen", "multicast", "seeds", "metrics"];
    let section = file.section("peers", &known, report)?;
    let default = Peers::default();
    let mode = section.or_parsed("mode", "auto", report, |text| match text {
        "auto" => Ok(Mode::Auto),
        "off" => Ok(Mode::Off),
        other => Err(format!("'{other}' is not a mode; use auto or off")),
    });
    let port = section.or("port", || default.port, report, scalar::port);
    let listen = section.or("listen", Vec::new, report, |value, report| {
        listen(value, rules, report)
    });
    if let (Some(Mode::Auto), Some(port), Some(listen)) = (mode, port, &listen) {
        // Where both are left to their defaults, so is what is claimed.
        let place = section.at("port");
        if listen.is_empty() {
            claims.port(place, port, report);
        } else {
            for address in listen {
                claims.socket(place.clone(), (*address, port).into(), report);
            }
        }
    }
    let multicast = section.or("multicast", || default.multicast, report, Value::flag);
    let seeds = section.or("seeds", Vec::new, report, |list, report| {
        seeds(list, port.unwrap_or(PORT), names, rules, report)
    });
    let metrics = section.or(
        "metrics",
        || None,
        report,
        |value, report| {
            value.parsed_by(
                |text| match text {
                    "off" => Ok(None),
                    text => scalar::loopback(text).map(Some),
                },
                report,
            )
        },
    );
    if let (Some(Mode::Auto), Some(Some(socket))) = (mode, metrics) {
        claims.socket(section.at("metrics"), socket, report);
    }
    Some(Peers {
        mode: mode?,
        port: port?,
        listen: listen?,
        multicast: multicast?,
        seeds: seeds?,
        metrics: metrics?,
    })
}

/// `all`, or addresses of which a node has those that it has.
fn listen(value: &Value<'_>, rules: Loopback, report: &mut Report) -> Option<Vec<IpAddr>> {
    if !value.is_list() {
        let all = |text: &str| match text {
            "all" => Ok(Vec::new()),
            other => Err(format!(
                "'{other}' is not known; write all, or a list of addresses"
            )),
        };
        return value.parsed_by(all, report);
    }
    if value.is_empty_list() {
        report.add(&value.place, "is empty; write all, or give at least one");
    }
    few(value, "addresses, such as [10.77.0.11]", report, |text| {
        address::parse(text, rules).map_err(|error| match error {
            AddressError::NotAnAddress(_) => error.to_string(),
            AddressError::Unusable { address, .. } => format!(
                "{address} is not an address that others reach a node at; write all, or such addresses"
            ),
        })
    })
}

fn seeds(
    list: &Value<'_>,
    port: u16,
    names: &Names,
    rules: Loopback,
    report: &mut Report,
) -> Option<Vec<Seed>> {
    let of = "names and addresses, such as [peers.example.com, \"10.77.0.11:8442\"]";
    few(list, of, report, |text| {
        let seed = seed(text, port, rules)?;
        match (&seed.host, &names.domain) {
            (Host::Name(name), Some(domain)) if name == domain || name.is_below(domain) => {
                Err(format!(
                    "'{name}' lies in {domain}, which no other server answers for; give an upstream name or an address"
                ))
            }
            _ => Ok(seed),
        }
    })
}

/// A list of a few different things.
fn few<T: PartialEq>(
    list: &Value<'_>,
    of: &str,
    report: &mut Report,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let items = list.list(of, report)?;
    if items.len() > MOST {
        let message = format!("has {} entries; give {MOST} at most", items.len());
        report.add(&list.place, message);
        return None;
    }
    let mut all: Vec<Option<T>> = Vec::new();
    for item in &items {
        let read = item.parsed_by(&parse, report);
        if read.is_some() && all.contains(&read) {
            report.add(&item.place, "is given twice; keep one");
            all.push(None);
        } else {
            all.push(read);
        }
    }
    all.into_iter().collect()
}

/// `10.77.0.11`, `fd77::11`, `[fd77::11]:8442`, `peers.example.com:8442`.
fn seed(text: &str, default: u16, rules: Loopback) -> Result<Seed, String> {
    let address = |address: IpAddr, port| match address::usable(address, rules) {
        Ok(address) => Ok(Seed {
            host: Host::Address(address),
            port,
        }),
        Err(_) => Err(format!(
            "{address} is not an address of another machine; give one that this node can reach, or an upstream name"
        )),
    };
    if let Ok(bare) = text.parse::<IpAddr>() {
        return address(bare, default);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return address(socket.ip(), given(socket.port(), text)?);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| digits);
            (host, given(port.unwrap_or(0), text)?)
        }
        None => (text, default),
    };
    let name = Name::parse(host).map_err(|error| error.to_string())?;
    if name.is_single_label() {
        return Err(format!(
            "'{name}' is a single label; write the whole upstream name"
        ));
    }
    Ok(Seed {
        host: Host::Name(name),
        port,
    })
}

fn given(port: u16, text: &str) -> Result<u16, String> {
    if port == 0 {
        return Err(format!(
            "'{text}' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442"
        ));
    }
    Ok(port)
}
