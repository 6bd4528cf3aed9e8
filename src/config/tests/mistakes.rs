//! Every class of mistake, with the exact words about it.

use super::{problems, with};

#[test]
fn each_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (more, want) in MISTAKES {
        let found = problems(&with(more));
        if found != [*want] {
            wrong.push(format!("{more}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_in_names_and_masters_are_told_with_their_place() {
    let mut wrong = Vec::new();
    for (from, to, want) in MISTAKES_IN_NAMES {
        let text = with("").replacen(from, to, 1);
        let found = problems(&text);
        if found != [*want] {
            wrong.push(format!("{text}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines behind a good file, and all that is said about them: the parts that stand for themselves.
const MISTAKES: &[(&str, &str)] = &[
    (
        "routes: {mode: tunnel}",
        "5:16: routes.mode: tunnel is not there yet; use direct where the masters share a link, else off",
    ),
    (
        "routes: {mode: on}",
        "5:16: routes.mode: 'on' is not a mode; use off or direct",
    ),
    (
        "routes: {mode: direct}",
        "5:16: routes.mode: direct needs an address that never changes for each master; give m1 one with `stable`",
    ),
    (
        "routes: {names: stable}",
        "5:17: routes.names: stable needs routes.mode direct; without routes nobody reaches those addresses",
    ),
    (
        "routes: {names: both}",
        "5:17: routes.names: 'both' is not known; use current or stable",
    ),
    (
        "routes: {protocol: 186}",
        "5:20: routes.protocol: 186 belongs to others; use 145 or another free one",
    ),
    (
        "routes: {protocol: 256}",
        "5:20: routes.protocol: 256 is out of range; use 1 to 255",
    ),
    (
        "routes: {interface: eth0}",
        "5:10: routes.interface: is not a known key; known here: mode, names, protocol",
    ),
    (
        "dsn: {ttl: 5}",
        "5:1: dsn: is not a known key; did you mean 'dns'?",
    ),
    (
        "nodes: {}",
        "5:1: nodes: is not a known key; known here: domain, endpoint, masters, aliases, kubernetes, dns, hosts, haproxy, certificates, routes, kubeadm, peers",
    ),
    (
        "dns: {TTL: 5}",
        "5:7: dns.TTL: is not a known key; did you mean 'ttl'?",
    ),
    (
        "dns: {ttl: 1}\ndns: {ttl: 2}",
        "6:1: dns: is given twice; keep one",
    ),
    (
        "dns: [5]",
        "5:6: dns: is a list; write a mapping of settings",
    ),
    (
        "dns: {ttl: five}",
        "5:12: dns.ttl: is text; write a whole number from 0 to 3600",
    ),
    (
        "dns: {ttl: 5.5}",
        "5:12: dns.ttl: is a number; write a whole number from 0 to 3600",
    ),
    (
        "dns: {ttl: 3601}",
        "5:12: dns.ttl: 3601 is out of range; use 0 to 3600",
    ),
    (
        "dns: {ttl: -1}",
        "5:12: dns.ttl: -1 is out of range; use 0 to 3600",
    ),
    (
        "dns: {ttl: }",
        "5:12: dns.ttl: is empty; write a whole number from 0 to 3600",
    ),
    (
        "dns: {listen: 127.0.0.1:53}",
        "5:15: dns.listen: is text; write a list of sockets, such as [\"127.0.0.1:1053\"]",
    ),
    (
        "dns: {listen: []}",
        "5:15: dns.listen: is empty; give at least one, such as 127.0.0.1:1053",
    ),
    (
        "dns:\n  listen:\n    - 127.0.0.1",
        "7:7: dns.listen[0]: '127.0.0.1' has no port; write 127.0.0.1:PORT",
    ),
    (
        "dns: {listen: ['::1']}",
        "5:16: dns.listen[0]: '::1' has no port; write [::1]:PORT",
    ),
    (
        "dns: {listen: [localhost:53]}",
        "5:16: dns.listen[0]: 'localhost:53' is not an address with a port; write one such as 127.0.0.1:1053 or [::1]:1053",
    ),
    (
        "dns: {listen: ['127.0.0.1:0']}",
        "5:16: dns.listen[0]: '127.0.0.1:0' has port 0; use 1 to 65535",
    ),
    (
        "dns: {listen: ['0.0.0.0:53']}",
        "5:16: dns.listen[0]: 0.0.0.0 would answer from an address that was not asked; list each address, such as 127.0.0.1:1053",
    ),
    (
        "dns: {listen: ['127.0.0.1:53', '127.0.0.1:53']}",
        "5:32: dns.listen[1]: 127.0.0.1:53 is given twice; keep one",
    ),
    (
        "dns: {upstream: ['127.0.0.1:1053']}",
        "5:18: dns.upstream[0]: 127.0.0.1:1053 is stayput's own responder; give a server beyond it",
    ),
    (
        "dns: {upstream: [0.0.0.0]}",
        "5:18: dns.upstream[0]: 0.0.0.0 is not the address of a DNS server; write one such as 10.0.0.2",
    ),
    (
        "dns: {listen: ['127.0.0.1:8443']}",
        "5:16: dns.listen[0]: port 8443 (127.0.0.1:8443) belongs to endpoint.port by default; choose another one",
    ),
    (
        "kubernetes: {apiPort: 8443}",
        "5:23: kubernetes.apiPort: port 8443 (0.0.0.0:8443) belongs to endpoint.port by default; choose another one",
    ),
    (
        "haproxy: {stats: '127.0.0.1:6443'}",
        "5:18: haproxy.stats: port 6443 (127.0.0.1:6443) belongs to kubernetes.apiPort by default; choose another one",
    ),
    (
        "haproxy: {stats: '10.0.0.9:8404'}",
        "5:18: haproxy.stats: 10.0.0.9 can be reached from outside; use loopback, such as 127.0.0.1:8404",
    ),
    (
        "kubernetes: {version: 1.30}",
        "5:23: kubernetes.version: is a number, which loses a final zero (1.30 is 1.3); put it in quotes, such as \"1.34\"",
    ),
    (
        "kubernetes: {version: '1.19'}",
        "5:23: kubernetes.version: '1.19' is too old; stayput knows Kubernetes 1.20 and later",
    ),
    (
        "kubernetes: {version: '1.+34'}",
        "5:23: kubernetes.version: '1.+34' is not a Kubernetes release; write one such as \"1.34\"",
    ),
    (
        "kubernetes: {version: latest}",
        "5:23: kubernetes.version: 'latest' is not a Kubernetes release; write one such as \"1.34\"",
    ),
    (
        "kubernetes: {serviceSubnet: 10.97.0.1/16}",
        "5:29: kubernetes.serviceSubnet: 10.97.0.1/16 is an address within a range; write 10.97.0.0/16",
    ),
    (
        "kubernetes: {serviceSubnet: '10.97.0.0/16,fd00::/108'}",
        "5:29: kubernetes.serviceSubnet: holds two ranges; give the first one only, kube-apiserver's own address comes from it",
    ),
    (
        "kubernetes: {serviceSubnet: 10.97.0.0/30}",
        "5:29: kubernetes.serviceSubnet: 10.97.0.0/30 is too small for Services; use 16 addresses or more",
    ),
    (
        "kubernetes: {serviceSubnet: 10.0.0.0/16}",
        "4:25: masters[0].address: 10.0.0.1 lies within kubernetes.serviceSubnet 10.0.0.0/16; give the machine's own address or the right range",
    ),
    (
        "kubernetes: {podSubnet: '10.244.0.0/16,fd00::/48'}",
        "5:25: kubernetes.podSubnet: holds two ranges; give one",
    ),
    (
        "kubernetes: {podSubnet: pods}",
        "5:25: kubernetes.podSubnet: 'pods' is not a range; write one such as 10.244.0.0/16",
    ),
    (
        "kubernetes: {podSubnet: 10.244.0.0/28}",
        "5:25: kubernetes.podSubnet: 10.244.0.0/28 is too small for pods; each node gets a /24 of it",
    ),
    (
        "kubernetes: {podSubnet: 10.96.0.0/16}",
        "5:25: kubernetes.podSubnet: 10.96.0.0/16 overlaps with kubernetes.serviceSubnet 10.96.0.0/12; give pods a range of their own",
    ),
    (
        "kubernetes: {podSubnet: 10.0.0.0/16}",
        "5:25: kubernetes.podSubnet: 10.0.0.0/16 has 10.0.0.1 in it, which is a master's; give the pods' own range",
    ),
    (
        "kubernetes: {dnsDomain: k8s.internal}",
        "1:9: domain: overlaps with kubernetes.dnsDomain k8s.internal, which the cluster's own DNS answers for; choose one beside it",
    ),
    (
        "hosts: {mode: inplace}",
        "5:15: hosts.mode: 'inplace' is not a mode; use auto, rename or in-place",
    ),
    (
        "hosts: {path: etc/hosts}",
        "5:15: hosts.path: 'etc/hosts' is not an absolute path; start it with /",
    ),
    (
        "hosts: {path: /etc/../hosts}",
        "5:15: hosts.path: '/etc/../hosts' is not a plain path to a file; write it without ., .. and needless slashes",
    ),
    (
        "hosts: {path: /etc/}",
        "5:15: hosts.path: '/etc/' is not a plain path to a file; write it without ., .. and needless slashes",
    ),
    (
        "hosts: {path: \"/etc/hosts\\n10.0.0.1 evil\"}",
        "5:15: hosts.path: holds a line break or another control character; write it on one line",
    ),
    (
        "haproxy: {config: /etc/hosts}",
        "5:19: haproxy.config: /etc/hosts belongs to hosts.path by default; choose another one",
    ),
    (
        "haproxy: {config: /etc/haproxy/haproxy.cfg}",
        "5:19: haproxy.config: /etc/haproxy/haproxy.cfg belongs to the distribution; choose another file, stayput writes all of it",
    ),
    (
        "haproxy: {socket: '/run/my dir/s'}",
        "5:19: haproxy.socket: '/run/my dir/s' holds characters that HAProxy would misread; use letters, digits and / . _ - + @ ~",
    ),
    (
        "haproxy: {reload: systemctl reload haproxy}",
        "5:19: haproxy.reload: is text; write a list of a program and its arguments",
    ),
    (
        "haproxy: {reload: [systemctl, reload]}",
        "5:20: haproxy.reload[0]: 'systemctl' is not an absolute path; start it with /",
    ),
    (
        "haproxy: {reload: [/bin/x, \"a\\nb\"]}",
        "5:28: haproxy.reload[1]: holds a line break or another control character; write it on one line",
    ),
    (
        "haproxy: {user: 'root '}",
        "5:17: haproxy.user: 'root ' is not a user name; use lower-case letters, digits, _ and - (useradd(8)), or \"\" for none",
    ),
    (
        "haproxy: {fallback: 'yes'}",
        "5:21: haproxy.fallback: is text; write true or false",
    ),
    (
        "aliases: [api]",
        "5:10: aliases: is a list; write a mapping of aliases, such as {k8s.example.com: api}",
    ),
    (
        "aliases: {a.example.com: m2}",
        "5:26: aliases.a.example.com: 'm2.prod.k8s.internal' is neither the endpoint nor a master; known: api.prod.k8s.internal, m1.prod.k8s.internal",
    ),
    (
        "aliases: {old: m1, older: old}",
        "5:27: aliases.older: 'old.prod.k8s.internal' is an alias too; name what that one stands for",
    ),
    (
        "aliases: {m1: api}",
        "5:11: aliases.m1: 'm1.prod.k8s.internal' is taken by masters[0].name; each name may occur once",
    ),
    (
        "aliases: {api.prod.k8s.internal: m1}",
        "5:11: aliases.api.prod.k8s.internal: 'api.prod.k8s.internal' is taken by endpoint.name; each name may occur once",
    ),
    (
        "aliases: {A.example.com: m1, a.example.com: api}",
        "5:30: aliases.a.example.com: 'a.example.com' is taken by aliases.A.example.com; each name may occur once",
    ),
    (
        "aliases: {ns: m1}",
        "5:11: aliases.ns: 'ns.prod.k8s.internal' is the responder's own name; choose another one",
    ),
    (
        "aliases: {localhost: m1}",
        "5:11: aliases.localhost: 'localhost' has its own meaning in every hosts file; choose another name",
    ),
    (
        "aliases: {prod.k8s.internal: m1}",
        "5:11: aliases.prod.k8s.internal: 'prod.k8s.internal' is the domain itself, which cannot be an alias in DNS (RFC 1034, 3.6.2); choose a name below or beside it",
    ),
    (
        "aliases: {a_b.example.com: m1}",
        "5:11: aliases.a_b.example.com: 'a_b.example.com' is not a host name; use letters, digits and inner hyphens (RFC 1123)",
    ),
];

/// What in the good file is replaced, by what, and all that is said then: names and masters.
const MISTAKES_IN_NAMES: &[(&str, &str, &str)] = &[
    (
        "domain: prod.k8s.internal\n",
        "\n",
        "2:1: domain: is missing; write one such as prod.k8s.internal",
    ),
    (
        "prod.k8s.internal",
        "k8s",
        "1:9: domain: 'k8s' is a single label; write two or more, such as k8s.internal",
    ),
    (
        "prod.k8s.internal",
        "k8s.local",
        "1:9: domain: 'k8s.local' cannot be used, .local belongs to multicast DNS (RFC 6762); choose one such as prod.k8s.internal",
    ),
    (
        "prod.k8s.internal",
        "7",
        "1:9: domain: is a number; write text, in quotes if it looks like a number",
    ),
    (
        "endpoint: {name: api}\n",
        "\n",
        "1:1: endpoint.name: is missing; write a label such as api",
    ),
    (
        "{name: api}",
        "{port: 8443}",
        "2:11: endpoint.name: is missing; write a label such as api",
    ),
    (
        "{name: api}",
        "{name: api, port: 0}",
        "2:29: endpoint.port: 0 is out of range; use 1 to 65535",
    ),
    (
        "{name: api}",
        "{name: api, port: 65536}",
        "2:29: endpoint.port: 65536 is out of range; use 1 to 65535",
    ),
    (
        "{name: api}",
        "{name: api, port: '8443'}",
        "2:29: endpoint.port: is text; write a whole number from 1 to 65535",
    ),
    (
        "{name: api}",
        "{name: api.example.com}",
        "2:18: endpoint.name: 'api.example.com' is not below prod.k8s.internal; write a label such as api",
    ),
    (
        "{name: api}",
        "{name: localhost}",
        "2:18: endpoint.name: 'localhost' has its own meaning in every hosts file; choose another name",
    ),
    (
        "{name: api}",
        "{name: m1}",
        "4:12: masters[0].name: 'm1.prod.k8s.internal' is taken by endpoint.name; each name may occur once",
    ),
    (
        "masters:\n  - {name: m1, address: 10.0.0.1}\n",
        "",
        "1:1: masters: is missing; list the control-plane nodes",
    ),
    (
        "masters:\n  - {name: m1, address: 10.0.0.1}\n",
        "masters: []",
        "3:10: masters: is empty; list at least one control-plane node",
    ),
    (
        "masters:\n  - {name: m1, address: 10.0.0.1}\n",
        "masters: {m1: 10.0.0.1}",
        "3:10: masters: is a mapping; write a list of masters, such as {name: master-1, address: 10.77.0.11}",
    ),
    (
        "{name: m1, address: 10.0.0.1}",
        "m1",
        "4:5: masters[0]: is text; write a mapping of settings",
    ),
    (
        "name: m1, ",
        "",
        "4:5: masters[0].name: is missing; write a label such as master-1",
    ),
    (
        ", address: 10.0.0.1",
        "",
        "4:5: masters[0]: has no address; give exactly one of address, addresses and follow",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, follow: a.example.com",
        "4:5: masters[0]: has address and follow; give exactly one of address, addresses and follow",
    ),
    (
        "address: 10.0.0.1",
        "addresses: []",
        "4:27: masters[0].addresses: is empty; list at least one address",
    ),
    (
        "address: 10.0.0.1",
        "addresses: [10.0.0.1, '::ffff:10.0.0.1']",
        "4:38: masters[0].addresses[1]: 10.0.0.1 is in masters[0].addresses[0] already; give each address once",
    ),
    (
        "10.0.0.1}",
        "10.0.0.1}\n  - {name: m2, address: 10.0.0.1}",
        "5:25: masters[1].address: 10.0.0.1 is in masters[0].address already; give each address once",
    ),
    (
        "10.0.0.1}",
        "10.0.0.1}\n  - {name: M1, address: 10.0.0.2}",
        "5:12: masters[1].name: 'm1.prod.k8s.internal' is taken by masters[0].name; each name may occur once",
    ),
    (
        "address: 10.0.0.1",
        "address: fe80::1",
        "4:25: masters[0].address: fe80::1 is a link-local address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0",
        "4:25: masters[0].address: '10.0.0' is not an IP address; write one such as 10.77.0.11 or fd77::11",
    ),
    (
        "address: 10.0.0.1",
        "follow: m1.prod.k8s.internal",
        "4:24: masters[0].follow: 'm1.prod.k8s.internal' lies in prod.k8s.internal, so the master would follow itself; follow a name that another server answers for",
    ),
    (
        "address: 10.0.0.1}",
        "follow: a.example.com}\naliases: {a.example.com: api}",
        "4:24: masters[0].follow: 'a.example.com' is aliases.a.example.com, so the master would follow itself; follow a name that another server answers for",
    ),
    (
        "address: 10.0.0.1}",
        "follow: a.example.com}\n  - {name: m2, follow: a.example.com}",
        "5:24: masters[1].follow: 'a.example.com' is followed in masters[0].follow already; follow each name once",
    ),
    (
        "address: 10.0.0.1",
        "follow: upstream",
        "4:24: masters[0].follow: 'upstream' is a single label; write the whole upstream name",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 10.0.0.1",
        "4:43: masters[0].stable: 10.0.0.1 is in masters[0].address already; give each address once",
    ),
    (
        "10.0.0.1}",
        "10.0.0.1, stable: 10.254.0.1}\n  - {name: m2, follow: m2.example.com, stable: '::ffff:10.254.0.1'}",
        "5:48: masters[1].stable: 10.254.0.1 is in masters[0].stable already; give each address once",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 127.0.0.9",
        "4:43: masters[0].stable: 127.0.0.9 is a loopback address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 224.0.0.9",
        "4:43: masters[0].stable: 224.0.0.9 is a multicast address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 0.0.0.0",
        "4:43: masters[0].stable: 0.0.0.0 is the unspecified address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 169.254.0.9",
        "4:43: masters[0].stable: 169.254.0.9 is a link-local address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 255.255.255.255",
        "4:43: masters[0].stable: 255.255.255.255 is the broadcast address; a master needs an address that the other nodes reach",
    ),
    (
        "address: 10.0.0.1",
        "address: 10.0.0.1, stable: 10.100.0.1",
        "4:43: masters[0].stable: 10.100.0.1 lies within kubernetes.serviceSubnet 10.96.0.0/12; give the machine's own address or the right range",
    ),
    (
        "address: 10.0.0.1",
        "stable: 10.254.0.1",
        "4:5: masters[0]: has no address; give exactly one of address, addresses and follow",
    ),
    (
        "name: m1",
        "nmae: m1, name: m1",
        "4:6: masters[0].nmae: is not a known key; did you mean 'name'?",
    ),
];
