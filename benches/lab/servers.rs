//! The other DNS servers, each as quick as it can be made: one thread that answers, no log, no limit
//! on the rate of answers, nothing in a reply that was not asked for.
//!
//! Each function gives the server's command, or `None` where the machine does not have it. Its files
//! lie in the node's folder.

use std::net::SocketAddr;
use std::process::Command;

use super::Result;
use super::node::{DOMAIN, Node};
use super::process::find;

/// One of these functions.
pub(crate) type CommandOf = fn(&Node, SocketAddr) -> Result<Option<Command>>;

/// Where dnsmasq's file of hosts lies below the node's folder.
pub(crate) const DNSMASQ_HOSTS: &str = "dnsmasq/hosts";

/// dnsmasq, answering from a file of hosts that it reads again on SIGHUP.
pub(crate) fn dnsmasq(node: &Node, listen: SocketAddr) -> Result<Option<Command>> {
    let Some(program) = find("dnsmasq") else {
        return Ok(None);
    };
    let lines = node.masters().fold(String::new(), |text, (name, address)| {
        text + &format!("{address} {name}\n")
    });
    let hosts = node.write(DNSMASQ_HOSTS, &lines)?;
    let mut command = Command::new(program);
    command
        .args(["--keep-in-foreground", "--log-facility=-"])
        .args(["--conf-file=/dev/null", "--pid-file="])
        .args(["--no-resolv", "--no-hosts", "--local-ttl=5"])
        .args(["--bind-interfaces", "--listen-address=127.0.0.1"])
        .arg(format!("--port={}", listen.port()))
        .arg(format!("--local=/{DOMAIN}/"))
        .arg(format!("--addn-hosts={}", hosts.display()));
    if rustix::process::geteuid().is_root() {
        // Its own user may not read the scratch folder.
        command.arg("--user=root");
    }
    Ok(Some(command))
}

/// unbound, as an authority with local data.
pub(crate) fn unbound(node: &Node, listen: SocketAddr) -> Result<Option<Command>> {
    let Some(program) = find("unbound") else {
        return Ok(None);
    };
    let port = listen.port();
    let data = node.masters().fold(String::new(), |text, (name, address)| {
        text + &format!("  local-data: \"{name}. 5 A {address}\"\n")
    });
    let configuration = format!(
        r#"server:
  interface: 127.0.0.1@{port}
  num-threads: 1
  do-daemonize: no
  use-syslog: no
  verbosity: 0
  chroot: ""
  username: ""
  pidfile: ""
  minimal-responses: yes
  local-zone: "{DOMAIN}." static
{data}remote-control:
  control-enable: no
"#
    );
    let path = node.write("unbound/unbound.conf", &configuration)?;
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(path);
    Ok(Some(command))
}

/// nsd, without its limit on the rate of answers.
pub(crate) fn nsd(node: &Node, listen: SocketAddr) -> Result<Option<Command>> {
    let Some(program) = find("nsd") else {
        return Ok(None);
    };
    write_zone(node, "nsd/zone")?;
    let (port, folder) = (listen.port(), node.path("nsd"));
    let folder = folder.display();
    let configuration = format!(
        r#"server:
  server-count: 1
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  pidfile: ""
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: yes
remote-control:
  control-enable: no
zone:
  name: "{DOMAIN}"
  zonefile: "zone"
"#
    );
    let path = node.write("nsd/nsd.conf", &configuration)?;
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(path);
    Ok(Some(command))
}

/// Knot DNS.
pub(crate) fn knot(node: &Node, listen: SocketAddr) -> Result<Option<Command>> {
    let Some(program) = find("knotd") else {
        return Ok(None);
    };
    write_zone(node, "knot/zone")?;
    let (port, folder) = (listen.port(), node.path("knot"));
    let folder = folder.display();
    let configuration = format!(
        r#"server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{folder}"
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: {DOMAIN}
    file: "zone"
"#
    );
    let path = node.write("knot/knot.conf", &configuration)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(path);
    Ok(Some(command))
}

/// A master file (RFC 1035 section 5) with what stayput answers.
fn write_zone(node: &Node, below: &str) -> Result {
    let head = format!(
        "$ORIGIN {DOMAIN}.\n$TTL 5\n\
         @ SOA api hostmaster 1 3600 600 86400 5\n@ NS api\napi A 127.0.0.1\n"
    );
    let zone = node.masters().fold(head, |text, (name, address)| {
        text + &format!("{name}. A {address}\n")
    });
    node.write(below, &zone)?;
    Ok(())
}
