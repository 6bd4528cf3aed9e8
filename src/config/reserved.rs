//! Names that cannot be ours, because a resolver or the hosts file treats them in its own way.

use super::identities;
use crate::name::Name;
use crate::pki::identity;

/// The responder's own name, below the domain.
const RESPONDER: &str = "ns";

/// Names that the usual hosts file maps: our lines must not lead them elsewhere.
const HOSTS_FILE_NAMES: [&str; 8] = [
    "localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
];

/// Domains with rules of their own. `home.arpa` is none of them (RFC 8375).
const SPECIAL_DOMAINS: [(&str, &str); 6] = [
    ("local", "belongs to multicast DNS (RFC 6762)"),
    ("localhost", "always means loopback (RFC 6761)"),
    ("invalid", "never exists (RFC 6761)"),
    ("onion", "belongs to Tor (RFC 7686)"),
    ("in-addr.arpa", "holds reverse entries (RFC 1035)"),
    ("ip6.arpa", "holds reverse entries (RFC 3596)"),
];

/// Parses the domain that stayput is to be authoritative for.
///
/// It has at least two labels: a single one would hide a whole top-level domain from the node, and
/// resolvers send no single label to DNS unless told to.
pub(super) fn domain(text: &str) -> Result<Name, String> {
    let domain = Name::parse(text).map_err(|error| error.to_string())?;
    for (special, rule) in SPECIAL_DOMAINS {
        let special_name = Name::parse(special).map_err(|error| error.to_string())?;
        if domain == special_name || domain.is_below(&special_name) {
            return Err(format!(
                "'{domain}' cannot be used, .{special} {rule}; choose one such as prod.k8s.internal"
            ));
        }
    }
    if domain.is_single_label() {
        return Err(format!(
            "'{domain}' is a single label; write two or more, such as {domain}.internal"
        ));
    }
    Ok(domain)
}

/// Whether a qualified name is free for an endpoint, a master or an alias.
pub(crate) fn check(name: &Name, domain: Option<&Name>) -> Result<(), String> {
    let relative = domain.and_then(|domain| name.relative_to(domain));
    // The short form of our names stands in the hosts file too.
    let known_as = relative.unwrap_or(name.as_str());
    if HOSTS_FILE_NAMES.contains(&known_as) {
        return Err(format!(
            "'{known_as}' has its own meaning in every hosts file; choose another name"
        ));
    }
    if relative == Some(RESPONDER) {
        return Err(format!(
            "'{name}' is the responder's own name; choose another one"
        ));
    }
    if domain.is_some_and(|domain| identity::is_reserved(name.as_str(), domain)) {
        return Err(identities::reserved(name.as_str()));
    }
    if domain == Some(name) {
        return Err(format!(
            "'{name}' is the domain itself, which cannot be an alias in DNS (RFC 1034, 3.6.2); choose a name below or beside it"
        ));
    }
    Ok(())
}
