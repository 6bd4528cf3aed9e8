//! Verifies certificates as Kubernetes' clients and servers do, with webpki.
//!
//! webpki leaves the authorities' own times out, Go does not: an authority that is not valid at the
//! time is none here.

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use super::certificate::Certificate;
use super::profile::{Names, Usages};
use crate::clock;

/// Why a certificate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The chain does not lead to the authority, or a part of it is not valid at that time.
    #[error("{subject} is not accepted: {reason}")]
    Chain {
        /// The certificate's subject.
        subject: String,
        /// In the library's words.
        reason: String,
    },
    /// A client that connects to that name refuses the certificate.
    #[error("{subject} is not valid for the name {name}")]
    Name {
        /// The certificate's subject.
        subject: String,
        /// The name.
        name: String,
    },
}

/// Both usages.
const ANY: Usages = Usages {
    server: true,
    client: true,
};

/// Checks that `leaf` leads to one of `authorities`, over `intermediates` if need be, for all of
/// `usages`, at a Unix time. Without any usage, for those that the leaf itself names.
pub fn chain(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    usages: Usages,
    at: i64,
) -> Result<(), Error> {
    let refused = |reason: String| Error::Chain {
        subject: leaf.subject.clone(),
        reason,
    };
    let ders = |certificates: &[Certificate]| -> Vec<CertificateDer<'static>> {
        let der = |certificate: &Certificate| CertificateDer::from(certificate.der.clone());
        certificates.iter().map(der).collect()
    };
    let seconds = u64::try_from(at).map_err(|_| refused("the clock is before 1970".into()))?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (valid, invalid): (Vec<_>, Vec<_>) = authorities
        .iter()
        .cloned()
        .partition(|authority| (authority.not_before..=authority.not_after).contains(&at));
    let valid = ders(&valid);
    let anchors: Vec<_> = valid
        .iter()
        .filter_map(|der| webpki::anchor_from_trusted_cert(der).ok())
        .collect();
    let intermediates = ders(intermediates);
    let der = CertificateDer::from(leaf.der.as_slice());
    let words = |error: webpki::Error| refused(reason(&error, leaf, &invalid, at));
    let entity = EndEntityCert::try_from(&der).map_err(words)?;
    let own = leaf.profile.usages;
    let usages = match (usages.server || usages.client, own.server || own.client) {
        (true, _) => usages,
        (false, true) => own,
        // A certificate that names no usage has all.
        (false, false) => ANY,
    };
    let server = usages.server.then(KeyUsage::server_auth);
    let client = usages.client.then(KeyUsage::client_auth);
    for usage in server.into_iter().chain(client) {
        entity
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &intermediates,
                time,
                usage,
                None,
                None,
            )
            .map_err(words)?;
    }
    Ok(())
}

/// Why, for people.
fn reason(error: &webpki::Error, leaf: &Certificate, invalid: &[Certificate], at: i64) -> String {
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            format!("expired on {}", clock::rfc3339(not_after.as_secs()))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!("not valid before {}", clock::rfc3339(not_before.as_secs()))
        }
        webpki::Error::UnknownIssuer => {
            let own = |authority: &&Certificate| authority.subject_der == leaf.issuer_der;
            match invalid.iter().find(own) {
                Some(authority) if authority.not_after < at => {
                    format!(
                        "its authority {} expired on {}",
                        authority.subject,
                        clock::date(authority.not_after)
                    )
                }
                Some(authority) => format!("its authority {} is not valid yet", authority.subject),
                None => format!("not signed by the authority (its issuer: {})", leaf.issuer),
            }
        }
        webpki::Error::InvalidSignatureForPublicKey => {
            "the signature is not the authority's".into()
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "not meant for this use (extended key usage)".into()
        }
        webpki::Error::CaUsedAsEndEntity => "it says that it is an authority".into(),
        webpki::Error::UnsupportedCertVersion => "it is no X.509 v3 certificate".into(),
        other => other.to_string(),
    }
}

/// Checks that a client accepts `leaf` under each of these names. A wildcard among them stands for
/// one name that it covers.
pub fn names(leaf: &Certificate, names: &Names) -> Result<(), Error> {
    match held(leaf, names)?.lacks(names).list().into_iter().next() {
        None => Ok(()),
        Some(name) => Err(Error::Name {
            subject: leaf.subject.clone(),
            name,
        }),
    }
}

/// Those of the names under which a client accepts `leaf`; of others than DNS names and addresses, all:
/// clients ask for none. A text that no client can ask for, such as
/// an address among the DNS names, is none of them even where the certificate has it.
pub fn held(leaf: &Certificate, names: &Names) -> Result<Names, Error> {
    let der = CertificateDer::from(leaf.der.as_slice());
    let entity = EndEntityCert::try_from(&der).map_err(|error| Error::Chain {
        subject: leaf.subject.clone(),
        reason: reason(&error, leaf, &[], 0),
    })?;
    let holds = |name: ServerName<'_>| entity.verify_is_valid_for_subject_name(&name).is_ok();
    let dns = |name: &String| {
        let covered = name.strip_prefix("*.").map(|domain| format!("a.{domain}"));
        let asked = covered.unwrap_or_else(|| name.clone());
        ServerName::try_from(asked)
            .is_ok_and(|asked| matches!(asked, ServerName::DnsName(_)) && holds(asked))
    };
    let mut held = names.clone();
    held.dns.retain(dns);
    held.addresses
        .retain(|address| holds(ServerName::from(*address)));
    Ok(held)
}
