//! Where etcd listens, as its `--listen-…-urls` say. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kubeadm::url::Url;

/// The flags by which etcd listens for anything that answers `/health`.
const FLAGS: [&str; 3] = [
    "listen-metrics-urls",
    "listen-client-http-urls",
    "listen-client-urls",
];

/// The same URLs for any master: loopback stays, another address becomes every address. A port is taken
/// once, and by every address if by any: etcd could not listen otherwise.
pub(super) fn everywhere(urls: &str) -> String {
    let mut kept: Vec<(String, u16, IpAddr)> = Vec::new();
    let mut odd: Vec<&str> = Vec::new();
    for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let Some((scheme, host, port)) = parts(url) else {
            odd.push(url);
            continue;
        };
        let host = match host {
            IpAddr::V4(it) if it.is_loopback() => host,
            IpAddr::V6(it) if it.is_loopback() => host,
            // Go listens on both families there.
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        if host.is_unspecified() {
            kept.retain(|(_, taken, _)| *taken != port);
        } else if kept
            .iter()
            .any(|(_, taken, at)| *taken == port && (at.is_unspecified() || *at == host))
        {
            continue;
        }
        kept.push((scheme.to_owned(), port, host));
    }
    let urls = kept.iter().map(|(scheme, port, host)| match host {
        IpAddr::V4(host) => format!("{scheme}://{host}:{port}"),
        IpAddr::V6(host) => format!("{scheme}://[{host}]:{port}"),
    });
    let all: Vec<String> = urls.chain(odd.into_iter().map(str::to_owned)).collect();
    all.join(",")
}

/// Where on this machine a port is answered, if these flags have etcd listen there.
pub(super) fn answers<'a>(flag: impl Fn(&str) -> Option<&'a str>, port: u16) -> Option<IpAddr> {
    let urls = FLAGS
        .into_iter()
        .filter_map(flag)
        .flat_map(|urls| urls.split(','));
    let mut places = urls.filter_map(|url| parts(url.trim()));
    let (_, host, _) = places.find(|(_, _, at)| *at == port)?;
    Some(match host {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    })
}

/// Scheme, address, port. etcd takes no names here, but `localhost`.
fn parts(url: &str) -> Option<(&str, IpAddr, u16)> {
    let url = Url::read(url)?;
    let scheme = url.scheme.strip_suffix("://")?;
    let host = match url.host {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.parse().ok()?,
    };
    Some((scheme, host, url.port()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_a_master_is_listened_at() {
        for (theirs, ours) in [
            ("http://127.0.0.1:2381", "http://127.0.0.1:2381"),
            ("http://[::1]:2381", "http://[::1]:2381"),
            ("http://0.0.0.0:2381", "http://0.0.0.0:2381"),
            ("http://10.0.0.1:2382", "http://0.0.0.0:2382"),
            ("https://[fd00::1]:2382", "https://0.0.0.0:2382"),
            (
                "http://127.0.0.1:2381,http://10.0.0.1:2381",
                "http://0.0.0.0:2381",
            ),
            (
                "http://10.0.0.1:2381, http://127.0.0.1:2381",
                "http://0.0.0.0:2381",
            ),
            (
                "http://127.0.0.1:2381,http://10.0.0.1:2390",
                "http://127.0.0.1:2381,http://0.0.0.0:2390",
            ),
            ("unix://localhost", "unix://localhost"),
        ] {
            assert_eq!(everywhere(theirs), ours, "{theirs}");
        }
    }
}
