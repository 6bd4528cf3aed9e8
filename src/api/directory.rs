//! Where the host of a URL is now, by the book: the endpoint at the local HAProxy, a master at its
//! current addresses, an address at itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Uri;

use super::https::Place;
use crate::name::Name;
use crate::view::{Entry, View};

/// Names and addresses of the cluster, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: Vec<Entry>,
    domain: Option<Name>,
}

/// Why a URL leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not what kube-apiserver and etcd are reached by.
    #[error("'{0}' is no URL such as https://HOST:PORT")]
    Url(String),
    /// A master of the cluster that nothing is known of yet.
    #[error(
        "the address of {0} is not known; tell it with `stayput event`, or start the agent, which finds it"
    )]
    Unknown(Name),
}

impl Directory {
    /// What a view says.
    pub fn of(view: &View) -> Self {
        Self {
            entries: view.entries(),
            domain: Some(view.cluster.domain.clone()),
        }
    }

    /// Where a URL leads, and who has to be there. A host that the book does not know is left to the
    /// system's resolver.
    pub fn place(&self, url: &str) -> Result<Place, Error> {
        let (host, port) = host_and_port(url)?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Place {
                addresses: vec![(address, port).into()],
                names: vec![host],
                port,
            });
        }
        let Some(entry) = Name::parse(&host).ok().and_then(|name| self.find(&name)) else {
            let addresses = match host.as_str() {
                "localhost" => vec![(Ipv4Addr::LOCALHOST, port).into()],
                _ => Vec::new(),
            };
            return Ok(Place {
                addresses,
                names: vec![host],
                port,
            });
        };
        at(entry, host, port)
    }

    /// Where a port of a master is; it has to carry its whole name or its label, or as a stock kubeadm has
    /// it one of its addresses.
    pub fn master(&self, master: &Name, port: u16) -> Result<Place, Error> {
        let entry = self.entries.iter().find(|entry| entry.name == *master);
        let entry = entry.ok_or_else(|| Error::Unknown(master.clone()))?;
        let mut place = at(entry, master.as_str().to_owned(), port)?;
        place.names.push(master.label().to_owned());
        let addresses = entry.addresses.iter().map(ToString::to_string);
        place.names.extend(addresses);
        Ok(place)
    }

    /// By its whole name or an alias, or by the name relative to the domain.
    fn find(&self, name: &Name) -> Option<&Entry> {
        let is = |entry: &&Entry| {
            let domain = self.domain.as_ref();
            entry.name == *name
                || entry.aliases.contains(name)
                || domain.and_then(|domain| entry.name.relative_to(domain)) == Some(name.as_str())
        };
        self.entries.iter().find(is)
    }
}

fn at(entry: &Entry, host: String, port: u16) -> Result<Place, Error> {
    if entry.addresses.is_empty() {
        return Err(Error::Unknown(entry.name.clone()));
    }
    let addresses = entry.addresses.iter();
    let addresses = addresses.map(|&address| SocketAddr::new(address, port));
    Ok(Place {
        addresses: addresses.collect(),
        names: vec![host],
        port,
    })
}

/// Host, without the brackets of IPv6, and port of an `https://` URL; 443 where it names none.
pub fn host_and_port(url: &str) -> Result<(String, u16), Error> {
    let bad = || Error::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("https") {
        return Err(bad());
    }
    let host = uri.host().ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_ascii_lowercase(), uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn directory() -> Directory {
        Directory::of(&sample::three([11, 12, 13]))
    }

    #[test]
    fn a_url_leads_to_where_its_host_is_now() {
        for (url, addresses, name) in [
            (
                "https://api.k8s.internal:8443",
                "127.0.0.1:8443",
                "api.k8s.internal",
            ),
            (
                "https://k8s.example.com:6443",
                "127.0.0.1:6443",
                "k8s.example.com",
            ),
            (
                "https://master-2.k8s.internal:2379",
                "10.77.0.12:2379",
                "master-2.k8s.internal",
            ),
            (
                "https://Master-2.K8S.internal:2379/",
                "10.77.0.12:2379",
                "master-2.k8s.internal",
            ),
            ("https://master-3:2379", "10.77.0.13:2379", "master-3"),
            (
                "https://old.k8s.internal:1",
                "10.77.0.11:1",
                "old.k8s.internal",
            ),
            ("https://127.0.0.1:6443", "127.0.0.1:6443", "127.0.0.1"),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", "fd00::1"),
            ("https://10.9.9.9", "10.9.9.9:443", "10.9.9.9"),
            ("https://localhost:6443", "127.0.0.1:6443", "localhost"),
            ("https://elsewhere.example:6443", "", "elsewhere.example"),
        ] {
            let place = directory().place(url).unwrap();
            let found: Vec<_> = place.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), addresses, "{url}");
            assert_eq!(place.names, [name], "{url}");
        }
    }

    #[test]
    fn what_is_no_url_or_not_known_is_told() {
        for url in [
            "",
            "api",
            "http://a:1",
            "https://",
            "https://a b",
            "unix:///x",
        ] {
            assert!(
                matches!(directory().place(url), Err(Error::Url(_))),
                "{url}"
            );
        }
        let view = sample::view(&[("master-1", &[])], &[]);
        let place = Directory::of(&view).place("https://master-1.k8s.internal:2379");
        assert!(matches!(place, Err(Error::Unknown(_))), "{place:?}");
    }

    #[test]
    fn a_master_is_known_by_name_and_label() {
        let master = Name::parse("master-2.k8s.internal").unwrap();
        let place = directory().master(&master, 2379).unwrap();
        assert_eq!(
            place.names,
            ["master-2.k8s.internal", "master-2", "10.77.0.12"]
        );
        assert_eq!(place.addresses[0].to_string(), "10.77.0.12:2379");
    }
}
