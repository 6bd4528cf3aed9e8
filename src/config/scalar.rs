//! What single values may be: ports, sockets, paths, ranges, versions.
//!
//! Each function says what is wrong and, behind a semicolon, what would be right.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use ipnet::IpNet;

use super::read::Value;
use super::report::Report;

/// The DNS port (RFC 1035), for an upstream server that is given without one.
const DNS_PORT: u16 = 53;
/// kubeadm gives the tenth address of the Service range to the cluster's DNS.
const MIN_SERVICE_BITS: u8 = 4;
/// The oldest Kubernetes release that stayput knows.
pub(super) const MIN_MINOR: u32 = 20;

/// A port that can be bound.
pub(super) fn port(value: &Value<'_>, report: &mut Report) -> Option<u16> {
    value.number(1..=u16::MAX, report)
}

/// The minor of a Kubernetes release: 34 for `"1.34"`, `"v1.34"` and `"1.34.2"`.
pub(super) fn minor(value: &Value<'_>, report: &mut Report) -> Option<u32> {
    version(value, report).map(|(minor, _)| minor)
}

/// Minor and patch of a Kubernetes release, the patch where it is given: 34 and 2 for `"1.34.2"`.
pub(super) fn version(value: &Value<'_>, report: &mut Report) -> Option<(u32, Option<u32>)> {
    if value.is_number() {
        let message = "is a number, which loses a final zero (1.30 is 1.3); put it in quotes, such as \"1.34\"";
        report.add(&value.place, message);
        return None;
    }
    value.parsed_by(release, report)
}

fn release(text: &str) -> Result<(u32, Option<u32>), String> {
    let parts: Vec<&str> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
    // `parse` alone would take a sign.
    let digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    let number = |part| Some(part).filter(digits)?.parse().ok();
    let numbers: Option<Vec<u32>> = parts.into_iter().map(number).collect();
    match numbers.as_deref() {
        Some([1, minor, patch @ ..]) if (MIN_MINOR..1000).contains(minor) && patch.len() < 2 => {
            Ok((*minor, patch.first().copied()))
        }
        Some([1, minor] | [1, minor, _]) if *minor < MIN_MINOR => Err(format!(
            "'{text}' is too old; stayput knows Kubernetes 1.{MIN_MINOR} and later"
        )),
        _ => Err(format!(
            "'{text}' is not a Kubernetes release; write one such as \"1.34\""
        )),
    }
}

/// A time span within bounds, in seconds; `example` is a sensible one.
pub(super) fn duration(
    value: &Value<'_>,
    bounds: RangeInclusive<u64>,
    example: &str,
    report: &mut Report,
) -> Option<u64> {
    if value.is_number() {
        let message = format!("is a number without a unit; write a time such as {example}");
        report.add(&value.place, message);
        return None;
    }
    value.parsed_by(
        |text| match span(text) {
            Some(seconds) if bounds.contains(&seconds) => Ok(seconds),
            Some(_) => Err(format!(
                "{text} is out of range; use {} to {}",
                written(*bounds.start()),
                written(*bounds.end())
            )),
            None => Err(format!(
                "'{text}' is not a time; write one such as {example}, with d, h, m or s behind whole numbers"
            )),
        },
        report,
    )
}

/// The units of time, the longest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// `30d`, `90m`, or several units from long to short as kubeadm writes them: `8760h0m0s`.
pub fn span(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut longer = u64::MAX;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if length >= longer {
            return None;
        }
        longer = length;
        seconds = seconds.checked_add(number.checked_mul(length)?)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    (longer != u64::MAX).then_some(seconds)
}

/// A time span in its longest whole unit.
pub(super) fn written(seconds: u64) -> String {
    let whole = |(_, length): &(char, u64)| seconds.is_multiple_of(*length);
    let unit = UNITS.into_iter().find(whole);
    unit.map_or_else(
        || format!("{seconds}s"),
        |(name, length)| format!("{}{name}", seconds / length),
    )
}

/// A range of Service addresses.
pub(super) fn service_subnet(text: &str) -> Result<IpNet, String> {
    if text.contains(',') {
        return Err(
            "holds two ranges; give the first one only, kube-apiserver's own address comes from it"
                .into(),
        );
    }
    let range = range_such_as("10.96.0.0/12", text)?;
    if range.max_prefix_len() - range.prefix_len() < MIN_SERVICE_BITS {
        return Err(format!(
            "{range} is too small for Services; use 16 addresses or more"
        ));
    }
    Ok(range)
}

/// A range of pods' addresses: kube-controller-manager cuts a /24 (IPv4) or a /64 (IPv6) out of it for
/// each node, unless it is told otherwise.
pub(super) fn pod_subnet(text: &str) -> Result<IpNet, String> {
    if text.contains(',') {
        return Err("holds two ranges; give one".into());
    }
    let range = range_such_as("10.244.0.0/16", text)?;
    let of_a_node = match range {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 64,
    };
    if range.prefix_len() > of_a_node {
        return Err(format!(
            "{range} is too small for pods; each node gets a /{of_a_node} of it"
        ));
    }
    Ok(range)
}

/// A range of addresses on the nodes' network, with nothing behind its prefix.
pub(super) fn range(text: &str) -> Result<IpNet, String> {
    range_such_as("10.77.0.0/24", text)
}

fn range_such_as(example: &str, text: &str) -> Result<IpNet, String> {
    let range: IpNet = text
        .parse()
        .map_err(|_| format!("'{text}' is not a range; write one such as {example}"))?;
    let whole = range.trunc();
    if whole != range {
        return Err(format!(
            "{range} is an address within a range; write {whole}"
        ));
    }
    Ok(range)
}

/// A network interface's name (netdevice(7), and what the kernel's `dev_valid_name` takes).
pub(super) fn interface(text: &str) -> Result<String, String> {
    let valid = (1..16).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"/:".contains(c));
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "'{text}' is not an interface; write its name as `ip link` shows it, such as eth0"
        ))
    }
}

/// An address and port to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let socket = socket(text)?;
    let address = socket.ip();
    if address.is_unspecified() {
        return Err(format!(
            "{address} would answer from an address that was not asked; list each address, such as 127.0.0.1:1053"
        ));
    }
    if is_group(address) {
        return Err(format!(
            "{address} is not an address of a single host; use one of the node's own"
        ));
    }
    Ok(socket)
}

/// An address and port that only the node itself reaches.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let socket = socket(text)?;
    if !socket.ip().is_loopback() {
        return Err(format!(
            "{} can be reached from outside; use loopback, such as 127.0.0.1:{}",
            socket.ip(),
            socket.port()
        ));
    }
    Ok(socket)
}

/// A DNS server; without a port, port 53.
pub(super) fn upstream(text: &str) -> Result<SocketAddr, String> {
    let server = match text.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, DNS_PORT),
        Err(_) => socket(text)?,
    };
    let address = server.ip();
    if address.is_unspecified() || is_group(address) {
        return Err(format!(
            "{address} is not the address of a DNS server; write one such as 10.0.0.2"
        ));
    }
    Ok(server)
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    let socket: SocketAddr = text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("'{text}' has no port; write {text}:PORT"),
        Ok(IpAddr::V6(_)) => format!("'{text}' has no port; write [{text}]:PORT"),
        Err(_) => format!(
            "'{text}' is not an address with a port; write one such as 127.0.0.1:1053 or [::1]:1053"
        ),
    })?;
    match socket.port() {
        0 => Err(format!("'{text}' has port 0; use 1 to 65535")),
        _ => Ok(socket),
    }
}

fn is_group(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    address.is_multicast() || broadcast
}

/// An absolute path to a file, without `.` and `..`.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("'{text}' is not an absolute path; start it with /"));
    }
    // `components` drops a `.`, doubled slashes and a final one: what they build again is the path
    // in its plain form.
    let plain: PathBuf = path.components().collect();
    let upwards = path.components().any(|c| c == Component::ParentDir);
    if upwards || plain.as_os_str() != text || plain.file_name().is_none() {
        return Err(format!(
            "'{text}' is not a plain path to a file; write it without ., .. and needless slashes"
        ));
    }
    Ok(plain)
}

/// A path that needs no quotes in HAProxy's configuration.
pub(super) fn plain_path(text: &str) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@~".contains(c);
    if !text.chars().all(plain) {
        return Err(format!(
            "'{text}' holds characters that HAProxy would misread; use letters, digits and / . _ - + @ ~"
        ));
    }
    path(text)
}

/// The user that HAProxy drops to; an empty text leaves it as it was started.
pub(super) fn user(text: &str) -> Result<Option<String>, String> {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let later = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with(first) || !text.chars().all(later) || text.len() > 32 {
        return Err(format!(
            "'{text}' is not a user name; use lower-case letters, digits, _ and - (useradd(8)), or \"\" for none"
        ));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_from_long_to_short() {
        for (text, want) in [
            ("30d", Some(30 * 86_400)),
            ("12h", Some(43_200)),
            ("90m", Some(5_400)),
            ("45s", Some(45)),
            ("8760h0m0s", Some(31_536_000)),
            ("1d12h", Some(129_600)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("d", None),
            ("30 d", None),
            ("-1d", None),
            ("+1d", None),
            ("1.5h", None),
            ("1h1d", None),
            ("1h1h", None),
            ("1w", None),
            ("1dü", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(span(text), want, "{text}");
        }
    }

    #[test]
    fn a_time_is_told_in_its_longest_unit() {
        for (seconds, want) in [
            (60, "1m"),
            (90, "90s"),
            (3_600, "1h"),
            (86_400 * 365, "365d"),
        ] {
            assert_eq!(written(seconds), want);
        }
    }
}
