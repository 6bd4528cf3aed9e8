//! The name by which a master speaks: `master-1.stayput.prod.k8s.internal`.
//!
//! The catalogue's row `stayput` certifies it, and nothing else: it is the certificate's CN and its only
//! DNS name. No master, alias, node or certificate of the operator's has a name at or below
//! `stayput.DOMAIN` (refused with the cluster file), so that whoever holds the pair can pass for no
//! kube-apiserver, no node and no endpoint, and whoever holds another pair cannot speak for a master.

use crate::name::{Name, NameError};

/// The row's id.
pub const ID: &str = "stayput";
/// The label between a master's own and the cluster's domain.
pub const LABEL: &str = "stayput";
/// The subject's O. Whoever asks the signer `kubernetes.io/kube-apiserver-client` may name it too, but
/// gets a certificate for clients only; this one is for servers as well.
pub const ORGANIZATION: &str = "stayput:masters";
/// What begins like this is a group of stayput's own.
pub const ORGANIZATIONS: &str = "stayput:";
/// The certificate, with kubeadm's own below `/etc/kubernetes`.
pub const CERTIFICATE: &str = "/etc/kubernetes/pki/stayput.crt";
/// Its key.
pub const KEY: &str = "/etc/kubernetes/pki/stayput.key";

/// The name by which a master of the domain speaks; an error where it would be too long for a name.
/// `master` is fully qualified.
pub fn name(master: &Name, domain: &Name) -> Result<Name, NameError> {
    let label = master.relative_to(domain).unwrap_or(master.as_str());
    Name::parse(&format!("{label}.{LABEL}.{domain}"))
}

/// The master that speaks by a name, fully qualified; none where it is no such name.
pub fn master(name: &Name, domain: &Name) -> Option<Name> {
    let label = name.relative_to(domain)?;
    let label = label.strip_suffix(LABEL)?.strip_suffix('.')?;
    Name::parse(&format!("{label}.{domain}")).ok()
}

/// Whether a text is a name by which masters speak, the zone of those names, or a wildcard among them.
pub fn is_reserved(text: &str, domain: &Name) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let relative = text.strip_suffix(domain.as_str());
    let relative = relative.and_then(|relative| relative.strip_suffix('.'));
    relative.is_some_and(|relative| {
        let above = relative.strip_suffix(LABEL);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_master_s_name_and_the_one_it_speaks_by_lead_to_each_other() {
        let domain = parsed("prod.k8s.internal");
        for (own, speaks) in [
            ("m1", "m1.stayput"),
            ("m2.zone-a", "m2.zone-a.stayput"),
            ("1", "1.stayput"),
            ("stayput-1", "stayput-1.stayput"),
        ] {
            let own = parsed(&format!("{own}.{domain}"));
            let speaks = parsed(&format!("{speaks}.{domain}"));
            assert_eq!(name(&own, &domain).unwrap(), speaks);
            assert_eq!(master(&speaks, &domain), Some(own));
            assert!(is_reserved(speaks.as_str(), &domain));
        }
        for stranger in [
            "m1.prod.k8s.internal",
            "stayput.prod.k8s.internal",
            "m1.xstayput.prod.k8s.internal",
            "m1.stayput.k8s.internal",
            "prod.k8s.internal",
            "m1.stayput.prod.k8s.internal.example.com",
        ] {
            assert_eq!(master(&parsed(stranger), &domain), None, "{stranger}");
        }
        let long = format!("{}.{domain}", ["a"; 115].join("."));
        assert!(name(&parsed(&long), &domain).is_err());
    }

    #[test]
    fn what_is_reserved() {
        let domain = parsed("prod.k8s.internal");
        for (text, want) in [
            ("stayput.prod.k8s.internal", true),
            ("STAYPUT.prod.k8s.internal.", true),
            ("*.stayput.prod.k8s.internal", true),
            ("a.b.stayput.prod.k8s.internal", true),
            ("m1.prod.k8s.internal", false),
            ("*.prod.k8s.internal", false),
            ("my-stayput.prod.k8s.internal", false),
            ("stayput.m1.prod.k8s.internal", false),
            ("stayput", false),
            ("stayput.example.com", false),
            ("stayputprod.k8s.internal", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_reserved(text, &domain), want, "{text}");
        }
    }
}
