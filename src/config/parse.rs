//! The cluster file: its sections, their defaults and what each setting may be.
//!
//! The sections that stand for themselves are read here; names depend on each other and are read in
//! [`names`](super::names).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::certificates;
use super::claims::Claims;
use super::cluster::{Cluster, Dns, Endpoint, Haproxy, Hosts, HostsMode, Kubernetes};
use super::identities::{self, Said};
use super::kubeadm;
use super::names::{self, Names};
use super::peers;
use super::problem::Problems;
use super::read::{self, Fields, Value};
use super::report::{Place, Report};
use super::routes;
use super::scalar;
use crate::address::Loopback;
use crate::name::Name;

/// Whoever caches an answer learns of a change after this time at the latest, in seconds.
const MAX_TTL: u32 = 3600;
/// HAProxy binds its socket as `PATH.PID.tmp` first, and a socket's path ends at 108 bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 97;
/// The distribution's own configuration, which is never ours.
const FOREIGN_CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_RELOAD: [&str; 3] = ["/usr/bin/systemctl", "reload", "stayput-haproxy"];

impl Cluster {
    /// Parses and checks a cluster file; everything that is wrong with it is told at once.
    ///
    /// `file` is only named in the problems. `rules` tells a node from a sandbox: loopback masters
    /// and an HAProxy that keeps its user exist only in the latter.
    pub fn parse(text: &str, file: &Path, rules: Loopback) -> Result<Self, Problems> {
        read::file(text, file, |tree, report| cluster(tree, rules, report))
    }
}

fn cluster(tree: &Value<'_>, rules: Loopback, report: &mut Report) -> Option<Cluster> {
    if tree.is_null() {
        let message = "the file is empty; it needs domain, endpoint and masters";
        report.add(&tree.place, message);
        return None;
    }
    let sections = [
        "domain",
        "endpoint",
        "masters",
        "aliases",
        "kubernetes",
        "dns",
        "hosts",
        "haproxy",
        "certificates",
        "routes",
        "kubeadm",
        "peers",
    ];
    let file = tree.fields(&sections, report)?;
    let mut claims = Claims::default();
    let endpoint = file.section("endpoint", &["name", "port"], report);
    let names = names::read(&file, endpoint.as_ref(), rules, report);
    let port = endpoint.and_then(|section| endpoint_port(&section, &mut claims, report));
    let kubernetes = kubernetes(&file, &names, &mut claims, report);
    let dns = dns(&file, &mut claims, report);
    let hosts = hosts(&file, &mut claims, report);
    let haproxy = haproxy(&file, rules, &mut claims, report);
    let routes = routes::read(&file, &names, report);
    let masters = names.masters.as_deref().unwrap_or_default();
    let minor = kubernetes.as_ref().map(|kubernetes| kubernetes.minor);
    let mut said = Said::default();
    let certificates = certificates::read(&file, masters, minor, &mut said, report);
    let kubeadm = kubeadm::read(&file, rules, report);
    let peers = peers::read(&file, &names, rules, &mut claims, report);
    let cluster = Cluster {
        domain: names.domain?,
        endpoint: Endpoint {
            name: names.endpoint?,
            port: port?,
        },
        masters: names.masters?,
        aliases: names.aliases?,
        kubernetes: kubernetes?,
        dns: dns?,
        hosts: hosts?,
        haproxy: haproxy?,
        certificates: certificates?,
        routes: routes?,
        kubeadm: kubeadm?,
        peers: peers?,
    };
    identities::check(&cluster, &said, report);
    Some(cluster)
}

fn endpoint_port(section: &Fields<'_>, claims: &mut Claims, report: &mut Report) -> Option<u16> {
    let port = section.or("port", || 8443, report, scalar::port)?;
    claims.loopback_port(section.at("port"), port, report);
    Some(port)
}

fn kubernetes(
    file: &Fields<'_>,
    names: &Names,
    claims: &mut Claims,
    report: &mut Report,
) -> Option<Kubernetes> {
    let known = [
        "version",
        "serviceSubnet",
        "podSubnet",
        "dnsDomain",
        "apiPort",
    ];
    let section = file.section("kubernetes", &known, report)?;
    let version = section.or("version", || (34, None), report, scalar::version);
    let service_subnet = section.or_parsed(
        "serviceSubnet",
        "10.96.0.0/12",
        report,
        scalar::service_subnet,
    );
    let pod_subnet = section.or(
        "podSubnet",
        || None,
        report,
        |value, report| value.parsed_by(scalar::pod_subnet, report).map(Some),
    );
    let dns_domain = section.or_parsed("dnsDomain", "cluster.local", report, Name::parse);
    names.check_service_subnet(service_subnet, report);
    if let Some(pods) = pod_subnet.flatten() {
        check_pod_subnet(&section, pods, service_subnet, names, report);
    }
    names.check_dns_domain(dns_domain.as_ref(), report);
    let api_port = section.or("apiPort", || 6443, report, scalar::port);
    if let Some(port) = api_port {
        claims.port(section.at("apiPort"), port, report);
    }
    let (minor, patch) = version?;
    Some(Kubernetes {
        minor,
        patch,
        service_subnet: service_subnet?,
        pod_subnet: pod_subnet?,
        dns_domain: dns_domain?,
        api_port: api_port?,
    })
}

/// Neither Services nor masters have addresses of pods.
fn check_pod_subnet(
    section: &Fields<'_>,
    pods: IpNet,
    services: Option<IpNet>,
    names: &Names,
    report: &mut Report,
) {
    let place = section.at("podSubnet");
    if let Some(services) = services
        && (services.contains(&pods) || pods.contains(&services))
    {
        let message = format!(
            "{pods} overlaps with kubernetes.serviceSubnet {services}; give pods a range of their own"
        );
        report.add(&place, message);
    }
    if let Some(address) = names.addresses_within(pods).next() {
        let message =
            format!("{pods} has {address} in it, which is a master's; give the pods' own range");
        report.add(&place, message);
    }
}

fn dns(file: &Fields<'_>, claims: &mut Claims, report: &mut Report) -> Option<Dns> {
    let section = file.section("dns", &["listen", "ttl", "upstream"], report)?;
    let default = [SocketAddr::from((Ipv4Addr::LOCALHOST, 1053))];
    let listen = sockets(&section, "listen", &default, scalar::listen, report);
    for (place, socket) in listen.iter().flatten() {
        claims.socket(place.clone(), *socket, report);
    }
    if let Some(list) = section.get("listen").filter(|list| list.is_empty_list()) {
        report.add(
            &list.place,
            "is empty; give at least one, such as 127.0.0.1:1053",
        );
    }
    let upstream = sockets(&section, "upstream", &[], scalar::upstream, report);
    for (place, server) in upstream.iter().flatten() {
        if listen.iter().flatten().any(|(_, own)| own == server) {
            let message = format!("{server} is stayput's own responder; give a server beyond it");
            report.add(place, message);
        }
    }
    let ttl = section.or(
        "ttl",
        || 5,
        report,
        |value, report| value.number(0..=MAX_TTL, report),
    );
    let bare = |sockets: Vec<(Place, SocketAddr)>| sockets.into_iter().map(|(_, s)| s).collect();
    Some(Dns {
        listen: listen.map(bare)?,
        ttl: ttl?,
        upstream: upstream.map(bare)?,
    })
}

/// A list of sockets with their places; an item that is given twice is a mistake.
fn sockets(
    section: &Fields<'_>,
    key: &str,
    default: &[SocketAddr],
    parse: impl Fn(&str) -> Result<SocketAddr, String>,
    report: &mut Report,
) -> Option<Vec<(Place, SocketAddr)>> {
    let Some(list) = section.get(key) else {
        let place = section.at(key);
        return Some(default.iter().map(|s| (place.clone(), *s)).collect());
    };
    let mut sockets = Vec::new();
    let items = list.list("sockets, such as [\"127.0.0.1:1053\"]", report)?;
    for item in &items {
        let Some(socket) = item.parsed_by(&parse, report) else {
            continue;
        };
        if sockets.iter().any(|(_, other)| *other == socket) {
            report.add(&item.place, format!("{socket} is given twice; keep one"));
        } else {
            sockets.push((item.place.clone(), socket));
        }
    }
    Some(sockets)
}

fn hosts(file: &Fields<'_>, claims: &mut Claims, report: &mut Report) -> Option<Hosts> {
    let section = file.section("hosts", &["path", "mode"], report)?;
    let path = section.or_parsed("path", "/etc/hosts", report, scalar::path);
    if let Some(path) = &path {
        claims.file(section.at("path"), path, report);
    }
    let mode = section.or_parsed("mode", "auto", report, |text| match text {
        "auto" => Ok(HostsMode::Auto),
        "rename" => Ok(HostsMode::Rename),
        "in-place" => Ok(HostsMode::InPlace),
        other => Err(format!(
            "'{other}' is not a mode; use auto, rename or in-place"
        )),
    });
    Some(Hosts {
        path: path?,
        mode: mode?,
    })
}

fn haproxy(
    file: &Fields<'_>,
    rules: Loopback,
    claims: &mut Claims,
    report: &mut Report,
) -> Option<Haproxy> {
    let known = [
        "config", "socket", "reload", "binary", "user", "fallback", "stats",
    ];
    let section = file.section("haproxy", &known, report)?;
    let config = section.or_parsed(
        "config",
        "/var/lib/stayput/haproxy.cfg",
        report,
        config_path,
    );
    if let Some(path) = &config {
        claims.file(section.at("config"), path, report);
    }
    let socket = section.or_parsed("socket", "/run/stayput/haproxy.sock", report, socket_path);
    if let Some(path) = &socket {
        claims.file(section.at("socket"), path, report);
    }
    let stats = section.or_parsed("stats", "127.0.0.1:8404", report, scalar::loopback);
    if let Some(socket) = stats {
        claims.socket(section.at("stats"), socket, report);
    }
    let reload = match section.get("reload") {
        Some(value) => command(value, report),
        // A sandbox never reloads the machine's own HAProxy.
        None if rules == Loopback::Allowed => Some(Vec::new()),
        None => Some(DEFAULT_RELOAD.map(str::to_owned).to_vec()),
    };
    let binary = section.or_parsed("binary", "/usr/sbin/haproxy", report, scalar::path);
    let default_user = match rules {
        Loopback::Refused => "haproxy",
        Loopback::Allowed => "",
    };
    let user = section.or_parsed("user", default_user, report, scalar::user);
    let fallback = section.or("fallback", || false, report, Value::flag);
    Some(Haproxy {
        config: config?,
        socket: socket?,
        reload: reload?,
        binary: binary?,
        user: user?,
        fallback: fallback?,
        stats: stats?,
    })
}

fn config_path(text: &str) -> Result<PathBuf, String> {
    match scalar::plain_path(text)? {
        path if path == Path::new(FOREIGN_CONFIG) => Err(format!(
            "{FOREIGN_CONFIG} belongs to the distribution; choose another file, stayput writes all of it"
        )),
        path => Ok(path),
    }
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    match scalar::plain_path(text)? {
        _ if text.len() > MAX_SOCKET_PATH => Err(format!(
            "has {} bytes; HAProxy's socket may have {MAX_SOCKET_PATH}",
            text.len()
        )),
        path => Ok(path),
    }
}

/// A program and its arguments, started without a shell; an empty list starts nothing.
pub(super) fn command(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = value.list("a program and its arguments", report)?;
    let mut words = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let word = match index {
            0 => item.parsed_by(|text| scalar::path(text).map(|_| text.to_owned()), report),
            _ => item.text(report).map(str::to_owned),
        };
        words.push(word);
    }
    words.into_iter().collect()
}
