//! The parts of a certificate that rcgen cannot write: names and usages of any kind, and extensions in
//! Go's order.
//!
//! A draft is taken apart (`TBSCertificate`, RFC 5280, 4.1), gets its names, and is signed.

use std::net::IpAddr;

use rcgen::{KeyPair, SigningKey};
use x509_parser::asn1_rs::{
    Any, BitString, Class, FromDer, Header, Length, Oid, PrintableString, Sequence, Set, Tag,
    ToDer, Utf8String, oid,
};
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, OID_X509_ORGANIZATION_NAME,
};

use super::profile::{Names, Profile};

/// Tags of `GeneralName` (RFC 5280, 4.2.1.6).
const DNS_NAME: u32 = 2;
const IP_ADDRESS: u32 = 7;

/// id-kp-serverAuth and id-kp-clientAuth (RFC 5280, 4.2.1.12).
const SERVER_AUTH: Oid<'static> = oid!(1.3.6.1.5.5.7.3.1);
const CLIENT_AUTH: Oid<'static> = oid!(1.3.6.1.5.5.7.3.2);

/// The order in which Go's `crypto/x509` writes extensions.
const ORDER: [Oid<'static>; 6] = [
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_SUBJECT_ALT_NAME,
];

/// A profile's subject as Go writes it (`pkix.Name.ToRDNSequence`): all organizations in one set,
/// sorted as DER wants sets, then the CN.
pub(super) fn name(profile: &Profile) -> Result<Vec<u8>, String> {
    let mut organizations = profile
        .organizations
        .iter()
        .map(|organization| attribute(OID_X509_ORGANIZATION_NAME, organization))
        .collect::<Result<Vec<_>, _>>()?;
    organizations.sort();
    let mut content = Vec::new();
    if !organizations.is_empty() {
        content.extend(written(&Set::new(organizations.concat().into()))?);
    }
    let common_name = attribute(OID_X509_COMMON_NAME, &profile.common_name)?;
    content.extend(written(&Set::new(common_name.into()))?);
    written(&Sequence::new(content.into()))
}

/// Subject alternative names: DNS names, addresses, then others as they stand.
pub(super) fn alternatives(names: &Names) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    for name in &names.dns {
        if !name.is_ascii() {
            return Err(format!("{name} is no DNS name"));
        }
        content.extend(implicit(DNS_NAME, name.as_bytes())?);
    }
    for address in &names.addresses {
        content.extend(match address {
            IpAddr::V4(address) => implicit(IP_ADDRESS, &address.octets())?,
            IpAddr::V6(address) => implicit(IP_ADDRESS, &address.octets())?,
        });
    }
    for other in &names.others {
        content.extend_from_slice(&other.der);
    }
    written(&Sequence::new(content.into()))
}

/// The elements of a certificate's subject alternative names, each as DER.
pub(super) fn each_alternative(extension: &[u8]) -> Result<Vec<&[u8]>, String> {
    parts(content(extension)?)
}

/// A context-specific tag in a type's place (X.690, 8.14.3).
fn implicit(tag: u32, content: &[u8]) -> Result<Vec<u8>, String> {
    let header = Header::new(
        Class::ContextSpecific,
        false,
        Tag(tag),
        Length::Definite(content.len()),
    );
    written(&Any::new(header, content))
}

/// Extended key usages: serverAuth, clientAuth, then others.
pub(super) fn usages(profile: &Profile) -> Result<Option<Vec<u8>>, String> {
    let own = [
        profile.usages.server.then_some(SERVER_AUTH),
        profile.usages.client.then_some(CLIENT_AUTH),
    ];
    let mut content = Vec::new();
    for usage in own.iter().flatten().chain(&profile.other_usages) {
        content.extend(written(usage)?);
    }
    if content.is_empty() {
        return Ok(None);
    }
    written(&Sequence::new(content.into())).map(Some)
}

fn attribute(kind: Oid<'static>, value: &str) -> Result<Vec<u8>, String> {
    if value.is_empty() {
        return Err("a part of its subject is empty".into());
    }
    let mut content = written(&kind)?;
    content.extend(if value.chars().all(is_printable) {
        written(&PrintableString::new(value))?
    } else {
        written(&Utf8String::new(value))?
    });
    written(&Sequence::new(content.into()))
}

/// `PrintableString`'s characters (X.680, 41.4).
fn is_printable(c: char) -> bool {
    c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c)
}

/// The draft's contents with these names, signed.
pub(super) fn signed(
    draft: &[u8],
    issuer: &[u8],
    subject: &[u8],
    key: &KeyPair,
) -> Result<Vec<u8>, String> {
    let certificate = parts(content(draft)?)?;
    let [tbs, algorithm, _unsigned] = certificate[..] else {
        return Err("its draft has an unknown form".into());
    };
    let fields = parts(content(tbs)?)?;
    let [
        version,
        serial,
        inner,
        _,
        validity,
        _,
        public_key,
        extensions,
    ] = fields[..]
    else {
        return Err("its draft has an unknown form".into());
    };
    let ordered = ordered(extensions)?;
    let fields = [
        version, serial, inner, issuer, validity, subject, public_key, &ordered,
    ];
    let mut whole = written(&Sequence::new(fields.concat().into()))?;
    let signature = key.sign(&whole).map_err(|error| error.to_string())?;
    whole.extend_from_slice(algorithm);
    whole.extend(written(&BitString::new(0, &signature))?);
    written(&Sequence::new(whole.into()))
}

/// `[3] EXPLICIT Extensions`, in Go's order.
fn ordered(extensions: &[u8]) -> Result<Vec<u8>, String> {
    let list = content(extensions)?;
    let mut each = parts(content(list)?)?;
    let place = |extension: &&[u8]| {
        let kind = content(extension)
            .ok()
            .and_then(|inner| Oid::from_der(inner).ok());
        kind.and_then(|(_, kind)| ORDER.iter().position(|known| *known == kind))
    };
    each.sort_by_key(|extension| place(extension).unwrap_or(ORDER.len()));
    // The same parts: both headers stay as they are.
    let headers = extensions.len() - content(list)?.len();
    Ok([&extensions[..headers], &each.concat()].concat())
}

/// What is within a tag and its length.
fn content(der: &[u8]) -> Result<&[u8], String> {
    let (_, any) = Any::from_der(der).map_err(|error| error.to_string())?;
    Ok(any.data)
}

/// The elements that follow each other, each with its tag and length.
fn parts(mut der: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut parts = Vec::new();
    while !der.is_empty() {
        let (rest, _) = Any::from_der(der).map_err(|error| error.to_string())?;
        let (part, _) = der.split_at(der.len() - rest.len());
        parts.push(part);
        der = rest;
    }
    Ok(parts)
}

fn written(value: &impl ToDer) -> Result<Vec<u8>, String> {
    value.to_der_vec().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_byte_for_byte_those_of_go() {
        // asn1.Marshal(pkix.Name{…}.ToRDNSequence()) of Go 1.26.
        for (common_name, organizations, want) in [
            (
                "kube-apiserver",
                &[][..],
                "3019311730150603550403130e6b7562652d617069736572766572",
            ),
            (
                "kubernetes-admin",
                &["system:masters"],
                "303431173015060355040a130e73797374656d3a6d6173746572733119301706\
                 0355040313106b756265726e657465732d61646d696e",
            ),
            (
                "m\u{fc}ller_1",
                &["zeta", "system:nodes", "a*b"],
                "3044312e300a060355040a0c03612a62300b060355040a13047a657461301306\
                 0355040a130c73797374656d3a6e6f6465733112301006035504030c096dc3bc\
                 6c6c65725f31",
            ),
            (
                "it's (a) = b?",
                &["a&b"],
                "3026310c300a060355040a0c03612662311630140603550403130d6974277320\
                 286129203d20623f",
            ),
        ] {
            let profile = Profile {
                common_name: common_name.into(),
                organizations: organizations.iter().map(ToString::to_string).collect(),
                ..Profile::default()
            };
            let hexadecimal = |bytes: Vec<u8>| -> String {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                digits.collect::<Vec<_>>().concat()
            };
            assert_eq!(name(&profile).map(hexadecimal), Ok(want.to_owned()));
        }
    }

    #[test]
    fn what_is_no_certificate_is_no_draft() {
        let key = KeyPair::generate().unwrap();
        for draft in [&[][..], &[0x30, 0], &[0x30, 2, 5, 0], b"text"] {
            assert!(signed(draft, &[], &[], &key).is_err());
        }
    }
}
