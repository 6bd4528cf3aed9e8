//! Stable addresses: whether they are kept on the masters, and whether names lead to them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cluster::Master;
use super::names::Names;
use super::read::Fields;
use super::report::Report;
use crate::name::Name;

/// The number that marks what is ours, as routing daemons have theirs
/// (`/etc/iproute2/rt_protos`; the kernel gives those above 4 no meaning, rtnetlink(7)).
pub const PROTOCOL: u8 = 145;

/// Numbers that belong to others: kernel and administrator, daemons of `rt_protos`, Open/R, Calico,
/// `FRRouting`.
const TAKEN: [std::ops::RangeInclusive<u8>; 5] = [0..=19, 42..=42, 80..=80, 99..=99, 186..=199];

/// How masters are reached at addresses that do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Whether masters' `stable` addresses are kept and routed.
    pub mode: Mode,
    /// Which address names lead to.
    pub names: Target,
    /// The route protocol number that marks what is ours.
    pub protocol: u8,
    /// Old addresses that are given back for a while, by master, beside `stable` and whatever
    /// [`Self::mode`] says. From a file of its own ([`rescue`](super::rescue)).
    pub rescue: BTreeMap<Name, IpAddr>,
    /// What that file says of nobody in the cluster file, and is left out; one line each.
    pub stale: Vec<String>,
}

/// Whether stable addresses are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is set.
    Off,
    /// Each on its master's loopback, and host routes to them by way of the current addresses.
    Direct,
}

/// Which address a master's name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Where the master is now.
    Current,
    /// Its stable one.
    Stable,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            names: Target::Current,
            protocol: PROTOCOL,
            rescue: BTreeMap::new(),
            stale: Vec::new(),
        }
    }
}

impl Routes {
    /// Whether anything is to be kept.
    pub fn in_force(&self) -> bool {
        self.mode == Mode::Direct || !self.rescue.is_empty()
    }

    /// The address that never changes, where it is kept.
    pub fn stable(&self, master: &Master) -> Option<IpAddr> {
        master.stable.filter(|_| self.mode == Mode::Direct)
    }

    /// The old address that a rescue gives back to a master.
    pub fn rescued(&self, master: &Master) -> Option<IpAddr> {
        self.rescue.get(&master.name).copied()
    }

    /// Every address that is kept for a master: its old one while it is rescued, and its stable one.
    pub fn kept(&self, master: &Master) -> impl Iterator<Item = IpAddr> + use<> {
        let (rescued, stable) = (self.rescued(master), self.stable(master));
        let stable = stable.filter(|stable| rescued != Some(*stable));
        rescued.into_iter().chain(stable)
    }
}

/// A protocol number that can be ours.
pub fn free(number: u8) -> Result<u8, String> {
    if TAKEN.iter().any(|range| range.contains(&number)) {
        return Err(format!(
            "{number} belongs to others; use {PROTOCOL} or another free one"
        ));
    }
    Ok(number)
}

/// Reads the section, and checks the masters' stable addresses against it.
pub(super) fn read(file: &Fields<'_>, names: &Names, report: &mut Report) -> Option<Routes> {
    let section = file.section("routes", &["mode", "names", "protocol"], report)?;
    let mode = section.or_parsed("mode", "off", report, |text| match text {
        "off" => Ok(Mode::Off),
        "direct" => Ok(Mode::Direct),
        "tunnel" => Err(
            "tunnel is not there yet; use direct where the masters share a link, else off".into(),
        ),
        other => Err(format!("'{other}' is not a mode; use off or direct")),
    });
    let target = section.or_parsed("names", "current", report, |text| match text {
        "current" => Ok(Target::Current),
        "stable" => Ok(Target::Stable),
        other => Err(format!("'{other}' is not known; use current or stable")),
    });
    let protocol = section.or(
        "protocol",
        || PROTOCOL,
        report,
        |value, report| {
            let number = value.number(1..=255_u8, report)?;
            report.take(&value.place, free(number))
        },
    );
    if mode == Some(Mode::Direct) {
        for master in names.masters.iter().flatten() {
            if names.lacks_stable(master) {
                let message = format!(
                    "direct needs an address that never changes for each master; give {} one with `stable`",
                    master.name.label()
                );
                report.add(&section.at("mode"), message);
            }
        }
        names.check_families(report);
    }
    if let (Some(Mode::Off), Some(Target::Stable)) = (mode, target) {
        let message =
            "stable needs routes.mode direct; without routes nobody reaches those addresses";
        report.add(&section.at("names"), message);
    }
    Some(Routes {
        mode: mode?,
        names: target?,
        protocol: protocol?,
        rescue: BTreeMap::new(),
        stale: Vec::new(),
    })
}
