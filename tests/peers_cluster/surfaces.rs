//! What a node shows of the masters: hosts file, DNS, HAProxy's configuration and the running HAProxy.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::lab::{Book, DOMAIN, Member};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::run;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket within a node's network namespace that asks its responder.
#[derive(Debug)]
pub(crate) struct Asker(UdpSocket);

impl Asker {
    pub(crate) fn on(namespace: &Namespace) -> Self {
        let file = File::open(namespace.path()).unwrap();
        // The thread ends with its namespace, the socket stays there.
        let socket = std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect((Ipv4Addr::LOCALHOST, 53)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self(socket)
        });
        socket.join().unwrap()
    }

    /// The first address of a name, or what came instead.
    fn ask(&self, name: &str) -> std::io::Result<String> {
        let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        // An answer that came late is to another question.
        self.0.set_nonblocking(true)?;
        while self.0.recv(&mut [0; 512]).is_ok() {}
        self.0.set_nonblocking(false)?;
        self.0.send(&question)?;
        let mut answer = [0; 512];
        let length = self.0.recv(&mut answer)?;
        // Behind the question: name, type, class, TTL and length in twelve octets.
        let from = question.len() + 12;
        Ok(match answer[..length].get(from..from + 4) {
            Some(&[a, b, c, d]) if answer[7] != 0 => Ipv4Addr::new(a, b, c, d).to_string(),
            _ => format!("{:?}", &answer[..length]),
        })
    }
}

impl Member {
    /// What shows something else than that the masters are there, and what it shows.
    pub(crate) fn disagreements(&self, dns: &Asker, masters: &Book) -> Vec<String> {
        let hosts = self.node.read("etc/hosts");
        let configuration = self.node.path("var/lib/stayput/haproxy.cfg");
        let configuration = std::fs::read_to_string(configuration).unwrap_or_default();
        let running = self.runtime("show servers state masters");
        let mut wrong = Vec::new();
        for (master, address) in masters {
            let name = format!("{master}.{DOMAIN}");
            let lines = hosts.lines().map(|line| line.split_whitespace());
            let lines = lines.filter(|words| words.clone().skip(1).any(|word| word == name));
            let found: Vec<&str> = lines.filter_map(|mut words| words.next()).collect();
            if found != [address] {
                wrong.push(format!("hosts: {name} is {found:?}"));
            }
            let answer = dns.ask(&name).unwrap_or_else(|error| error.to_string());
            if answer != *address {
                wrong.push(format!("DNS: {name} is {answer}"));
            }
            // A master reaches its own API server without the network.
            let own = *master == self.node.name;
            let server = if own { "127.0.0.1" } else { address };
            let line = format!("server {master} {server}:6443");
            let mut lines = configuration.lines().map(str::trim_start);
            if !lines.any(|it| it == line || it.starts_with(&format!("{line} "))) {
                wrong.push(format!("HAProxy's file lacks: {line}"));
            }
            // Number and name of the backend, those of the server, its address.
            let mut lines = running
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>());
            let runs = lines.find(|words| words.get(3) == Some(&master.as_str()));
            let runs = runs.and_then(|words| words.get(4).copied().map(str::to_owned));
            if runs.as_deref() != Some(server) {
                wrong.push(format!("the running HAProxy: {master} is {runs:?}"));
            }
        }
        wrong
    }

    /// What HAProxy's process says; nothing where it does not answer now.
    fn runtime(&self, command: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(self.node.path("run/stayput/haproxy.sock"))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            writeln!(stream, "{command}")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }
}

impl Node {
    /// The same as programs of the machine see it, and as stayput itself does.
    pub(crate) fn programs_see(&self, masters: &Book) {
        let names: Vec<String> = masters.keys().map(|it| format!("{it}.{DOMAIN}")).collect();
        let wanted: Vec<&str> = masters.values().map(String::as_str).collect();
        let mut dig = self.command("dig");
        dig.args(["+short", "+time=5", "@127.0.0.1"]).args(&names);
        let answers = run(&mut dig).good();
        let answers: Vec<&str> = answers.lines().collect();
        assert_eq!(answers, wanted, "DNS on {}", self.name);
        let mut getent = self.command("getent");
        let found = run(getent.arg("ahostsv4").args(&names)).good();
        let mut found: Vec<&str> = found
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        // Each once for each kind of socket.
        found.dedup();
        assert_eq!(found, wanted, "hosts file on {}", self.name);
        self.stayput(&["check"]).good();
    }
}
