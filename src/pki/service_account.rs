//! The public keys of service-account tokens.

use rustls_pki_types::pem::{PemObject, SectionKind};

use super::certificate::Certificate;
use super::pem;

/// The public keys that kube-apiserver finds in a file of `--service-account-key-file`, as DER of
/// `SubjectPublicKeyInfo`: those of `PUBLIC KEY` blocks and of certificates (client-go's
/// `ParsePublicKeysPEM`). Other blocks are passed over. Else, why the text cannot be read.
pub(super) fn public_keys(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section.map_err(|error| pem::fault(&error))? {
            (SectionKind::PublicKey, der) => keys.push(der),
            (SectionKind::Certificate, der) => {
                let read = Certificate::parse_der(&der);
                keys.push(read.map_err(|error| error.to_string())?.public_key);
            }
            _ => {}
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::super::issue::{self, Validity};
    use super::super::key::{KeyType, PrivateKey};
    use super::super::profile::Profile;
    use super::*;

    #[test]
    fn keys_and_certificates_count_and_private_keys_do_not() {
        let [one, two] = [(); 2].map(|()| PrivateKey::generate(KeyType::EcdsaP256).unwrap());
        let profile = Profile {
            common_name: "sa".to_owned(),
            ..Profile::default()
        };
        let validity = Validity::starting(1_800_000_000, 3600);
        let certificate = issue::authority(&profile, &two, validity).unwrap();
        let (private, public) = (one.to_pem().unwrap(), one.public_pem());
        let text = format!("{}{public}{certificate}", *private);
        let keys = public_keys(text.as_bytes()).unwrap();
        assert_eq!(keys, [one.public_key(), two.public_key()]);
        assert!(public_keys(b"text").unwrap().is_empty());
        assert!(public_keys(&certificate.as_bytes()[..200]).is_err());
    }
}
