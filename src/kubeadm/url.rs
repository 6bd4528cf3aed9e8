//! Where a URL, or `HOST:PORT`, leads: the one reader of hosts in what kubeadm writes.

use std::net::IpAddr;

/// The parts of a URL such as `https://10.0.0.1:2379`, of `HOST:PORT`, or of a host alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// With its colon and slashes, and a user where one is named; empty where there is none.
    pub scheme: &'a str,
    /// Without the brackets of IPv6.
    pub host: &'a str,
    /// With its colon, and whatever follows; may be empty.
    pub rest: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a text apart; `None` for what has no host. A range such as `10.0.0.0/8` has none: only what
    /// has a scheme has a path.
    pub fn read(text: &'a str) -> Option<Self> {
        let start = text.find("://").map_or(0, |at| at + 3);
        let end = text[start..]
            .find('/')
            .map_or(text.len(), |path| start + path);
        if start == 0 && end < text.len() {
            return None;
        }
        let start = text[start..end]
            .rfind('@')
            .map_or(start, |at| start + at + 1);
        let (scheme, place) = (&text[..start], &text[start..end]);
        let (host, rest) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let host = bracketed.split_once(']')?.0;
                (host, start + host.len() + 2)
            }
            // An address of IPv6 may stand by itself.
            None if place.parse::<IpAddr>().is_ok() => (place, end),
            None => {
                let host = place.split(':').next().unwrap_or(place);
                (host, start + host.len())
            }
        };
        let rest = &text[rest..];
        (!host.is_empty()).then_some(Self { scheme, host, rest })
    }

    /// The host where it is an address.
    pub fn address(self) -> Option<IpAddr> {
        let address: IpAddr = self.host.parse().ok()?;
        Some(address.to_canonical())
    }

    /// The port, if it is given.
    pub fn port(self) -> Option<u16> {
        let rest = self.rest.strip_prefix(':')?;
        rest.split('/').next()?.parse().ok()
    }

    /// The same URL with another host.
    pub fn at(self, host: &str) -> String {
        format!("{}{host}{}", self.scheme, self.rest)
    }
}

/// The addresses in a flag's value, a URL or a list of either:
/// `https://10.0.0.1:2379,m=https://[fd00::1]`.
pub fn addresses(value: &str) -> impl Iterator<Item = IpAddr> {
    let parts = value.split(|c: char| c == ',' || c == '=' || c.is_whitespace());
    parts.filter_map(|part| Url::read(part)?.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_all_but_its_host() {
        for (text, host, port, moved) in [
            (
                "https://10.0.0.1:2379",
                "10.0.0.1",
                Some(2379),
                "https://m:2379",
            ),
            (
                "https://[fd00::1]:2379/",
                "fd00::1",
                Some(2379),
                "https://m:2379/",
            ),
            (
                "https://[fd00::1]:2379/x",
                "fd00::1",
                Some(2379),
                "https://m:2379/x",
            ),
            ("https://[fd00::1]", "fd00::1", None, "https://m"),
            (
                "https://10.0.0.1/a:1@b",
                "10.0.0.1",
                None,
                "https://m/a:1@b",
            ),
            (
                "https://u:p@10.0.0.1:1",
                "10.0.0.1",
                Some(1),
                "https://u:p@m:1",
            ),
            ("http://10.0.0.1", "10.0.0.1", None, "http://m"),
            ("[fd00::1]:2379", "fd00::1", Some(2379), "m:2379"),
            ("10.0.0.1:6443", "10.0.0.1", Some(6443), "m:6443"),
            ("10.0.0.1", "10.0.0.1", None, "m"),
            ("fd00::1", "fd00::1", None, "m"),
            (
                "https://API.example:6443",
                "API.example",
                Some(6443),
                "https://m:6443",
            ),
            ("api.example", "api.example", None, "m"),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!((url.host, url.port()), (host, port), "{text}");
            assert_eq!(url.at("m"), moved, "{text}");
        }
        for text in [
            "",
            "https://",
            ":6443",
            "https://[::1",
            "10.0.0.0/8",
            "https:///x",
        ] {
            assert_eq!(Url::read(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_found_in_values() {
        for (value, want) in [
            ("10.0.0.1", &["10.0.0.1"][..]),
            ("10.0.0.1:6443", &["10.0.0.1"]),
            ("https://10.0.0.1:6443", &["10.0.0.1"]),
            ("https://10.0.0.1/path", &["10.0.0.1"]),
            ("https://[fd00::1]:6443", &["fd00::1"]),
            ("https://[fd00::1]", &["fd00::1"]),
            ("fd00::1", &["fd00::1"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"]),
            ("https://user@10.0.0.1:1", &["10.0.0.1"]),
            (
                "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.1:2380",
                &["10.0.0.1", "10.0.0.2", "10.0.0.1"],
            ),
            ("localhost,10.0.0.0/8,10.0.0.3 .svc", &["10.0.0.3"]),
            ("https://master-1.prod.k8s.internal:2379", &[]),
            ("1.20", &[]),
            ("", &[]),
        ] {
            let want: Vec<IpAddr> = want.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(addresses(value).collect::<Vec<_>>(), want, "{value}");
        }
    }
}
