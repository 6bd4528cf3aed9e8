//! Ten thousand changes in each way of writing, while resolvers and plain readers look: a name is
//! never missing, and no line is ever torn.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stayput::config::cluster::HostsMode;
use stayput::root::Root;
use stayput::surface::hosts;

#[expect(dead_code, reason = "each test file uses a part of it")]
mod hosts_sample;
mod sample;
use hosts_sample::{have, in_mount_namespace, inner_dir, view};

const CHANGES: usize = 10_000;

/// Writing in place lets readers finish that need less than 50 ms. One that was not scheduled for
/// longer has seen two states of the file; what it saw does not count.
const PASS: Duration = Duration::from_millis(40);

/// How many looks that count each reader must have had.
const LOOKS: usize = 300;

/// Of lines that are torn, hardly one is an address that holds its own check sum.
fn address(master: u8, n: usize) -> IpAddr {
    let [high, low] = u16::try_from(n % 65_536).unwrap().to_be_bytes();
    if n % 5 == 4 {
        let sum = check(master, high, low);
        let group = u16::from_be_bytes([high, low]);
        Ipv6Addr::new(0xfd77, master.into(), 0, 0, 0, 0, group, sum.into()).into()
    } else {
        Ipv4Addr::new(10, master, low, check(master, 0, low)).into()
    }
}

fn check(master: u8, high: u8, low: u8) -> u8 {
    let sum = u32::from(master) * 7 + u32::from(high) * 31 + u32::from(low) * 57 + 3;
    u8::try_from(sum % 251).unwrap()
}

fn is_whole(master: u8, seen: IpAddr) -> bool {
    match seen {
        IpAddr::V4(v4) => {
            let [ten, of, low, sum] = v4.octets();
            ten == 10 && of == master && sum == check(master, 0, low)
        }
        IpAddr::V6(v6) => {
            let [net, of, 0, 0, 0, 0, group, sum] = v6.segments() else {
                return false;
            };
            let [high, low] = group.to_be_bytes();
            net == 0xfd77 && of == u16::from(master) && sum == u16::from(check(master, high, low))
        }
    }
}

fn check_addresses(who: &str, name: &str, found: &[IpAddr]) {
    assert!(!found.is_empty(), "{who}: no address for {name}");
    let master: Option<u8> = name
        .strip_prefix("master-")
        .and_then(|rest| rest.split('.').next()?.parse().ok());
    for address in found {
        let whole = match master {
            Some(master) => is_whole(master, *address),
            None => *address == Ipv4Addr::LOCALHOST,
        };
        assert!(whole, "{who}: {name} has {address}");
    }
}

const NAMES: [&str; 6] = [
    "api.k8s.internal",
    "master-1.k8s.internal",
    "master-2.k8s.internal",
    "master-3.k8s.internal",
    "master-2",
    "localhost",
];

/// The C library's resolver.
fn getaddrinfo() -> Vec<(String, Vec<IpAddr>)> {
    NAMES
        .iter()
        .map(|name| {
            let found = (*name, 0).to_socket_addrs().map(Iterator::collect);
            let found: Vec<std::net::SocketAddr> = found.unwrap_or_default();
            (
                name.to_string(),
                found.iter().map(std::net::SocketAddr::ip).collect(),
            )
        })
        .collect()
}

/// Reads the file through a small buffer, as a shell or a C library's stdio does.
fn plain(path: &Path, size: usize) -> Vec<(String, Vec<IpAddr>)> {
    let mut file = fs::File::open(path).unwrap();
    let mut text = Vec::new();
    let mut buffer = vec![0; size];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    let text = String::from_utf8_lossy(&text);
    let mut found: Vec<(String, Vec<IpAddr>)> = NAMES
        .iter()
        .map(|name| (name.to_string(), Vec::new()))
        .collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let address: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
        let known =
            |word: &str| word.starts_with("master-") || word == "api" || NAMES.contains(&word);
        match address {
            Some(address) if words.clone().all(known) => {
                for word in words {
                    for (_, addresses) in found.iter_mut().filter(|(name, _)| name == word) {
                        addresses.push(address);
                    }
                }
            }
            // Fails the check as a name without an address.
            _ => found.push((format!("the torn line {line:?}"), Vec::new())),
        }
    }
    found
}

/// Go's own resolver. It keeps what it read for five seconds, so each look is a process.
fn go(program: &Path) -> Vec<(String, Vec<IpAddr>)> {
    let output = Command::new(program)
        .args(NAMES)
        .env("GODEBUG", "netdns=go")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            (name, words.map(|word| word.parse().unwrap()).collect())
        })
        .collect()
}

const GO: &str = r#"package main

import ("fmt"; "net"; "os"; "strings")

func main() {
	for _, name := range os.Args[1:] {
		found, _ := net.LookupHost(name)
		fmt.Println(strings.TrimSpace(name + " " + strings.Join(found, " ")))
	}
}
"#;

fn build_go(dir: &Path) -> Option<PathBuf> {
    let path = format!("{}:/usr/local/go/bin", std::env::var("PATH").unwrap());
    fs::write(dir.join("lookup.go"), GO).unwrap();
    let built = Command::new("go")
        .args(["build", "-o", "lookup", "lookup.go"])
        .current_dir(dir)
        .env("PATH", path)
        .envs([
            ("CGO_ENABLED", "0"),
            ("GOTOOLCHAIN", "local"),
            ("GO111MODULE", "off"),
        ])
        .status();
    let built = built.is_ok_and(|status| status.success());
    have("Go", built).then(|| dir.join("lookup"))
}

/// A copy of /etc in memory becomes /etc, with nothing but files asked for hosts.
const SCRIPT: &str = "mkdir -p \"$DIR\"/etc\n\
    mount -t tmpfs none \"$DIR\"/etc\n\
    cp -a /etc/. \"$DIR\"/etc\n\
    echo '127.0.0.1 localhost' > \"$DIR\"/etc/hosts\n\
    echo 'hosts: files' > \"$DIR\"/etc/nsswitch.conf\n\
    mount --bind \"$DIR\"/etc /etc\n";

#[test]
fn readers_never_miss_a_name_while_the_file_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    build_go(dir.path());
    in_mount_namespace(dir.path(), &format!("{SCRIPT}inner inner_rename"));
}

#[test]
fn readers_never_miss_a_name_while_the_file_is_written_in_place() {
    let dir = tempfile::tempdir().unwrap();
    build_go(dir.path());
    in_mount_namespace(dir.path(), &format!("{SCRIPT}inner inner_in_place"));
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_rename() {
    let root = Root::open(&inner_dir()).unwrap();
    while_read(|n| {
        let addresses =
            [1, 2, 3].map(|master| address(master, n / 3 + usize::from(n % 3 >= master.into())));
        hosts::apply(&root, &view(HostsMode::Rename, &addresses)).unwrap();
    });
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_in_place() {
    let root = Root::open(&inner_dir()).unwrap();
    while_read(|n| {
        if n == CHANGES / 5 {
            // A larger pool: slots are used again less often, and there are fewer waits.
            let many: Vec<IpAddr> = (1..=60).map(|master| address(master, n)).collect();
            hosts::apply(&root, &view(HostsMode::InPlace, &many)).unwrap();
        }
        let addresses =
            [1, 2, 3].map(|master| address(master, n / 3 + usize::from(n % 3 >= master.into())));
        hosts::apply(&root, &view(HostsMode::InPlace, &addresses)).unwrap();
    });
}

/// Makes ten thousand changes, and more until every reader has looked often enough.
fn while_read(change: impl Fn(usize)) {
    type Reader = Box<dyn Fn() -> Vec<(String, Vec<IpAddr>)> + Send>;
    let hosts = PathBuf::from("/etc/hosts");
    let mut readers: Vec<(&str, Reader)> = vec![("getaddrinfo", Box::new(getaddrinfo))];
    for (who, size) in [("read 3", 3), ("read 100", 100), ("read 4096", 4096)] {
        let hosts = hosts.clone();
        readers.push((who, Box::new(move || plain(&hosts, size))));
    }
    let program = inner_dir().join("lookup");
    if program.exists() {
        readers.push(("Go", Box::new(move || go(&program))));
    }
    change(0);
    let done = AtomicBool::new(false);
    let looks: Vec<AtomicUsize> = readers.iter().map(|_| AtomicUsize::new(0)).collect();
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .zip(&looks)
            .map(|((who, look), looks)| {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        let seen = look();
                        if begun.elapsed() < PASS {
                            for (name, found) in seen {
                                check_addresses(who, &name, &found);
                            }
                            looks.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        let deadline = Instant::now() + Duration::from_mins(5);
        let mut made = 0;
        let few = || {
            looks
                .iter()
                .any(|count| count.load(Ordering::Relaxed) < LOOKS)
        };
        while (made < CHANGES || few())
            && !threads
                .iter()
                .any(std::thread::ScopedJoinHandle::is_finished)
        {
            assert!(
                Instant::now() < deadline,
                "{made} changes, {looks:?} looks in five minutes"
            );
            made += 1;
            change(made);
        }
        done.store(true, Ordering::Relaxed);
        made
    });
    println!("{made} changes; looks: {looks:?}");
    assert!(made >= CHANGES, "a reader failed after {made} changes");
}
