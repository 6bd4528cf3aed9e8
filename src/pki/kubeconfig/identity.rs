//! Who a kubeconfig says that one is: what another kubeconfig takes over of it.

use zeroize::Zeroizing;

use super::document::{Document, Entry};
use super::{AUTHORITY, CERTIFICATE, Client, Error, KEY, authorities, bare, client, unusable};

/// The current context's user and authority. All three values are base64 without white space.
pub(in crate::pki) struct Identity {
    /// The certificate's CN.
    pub(in crate::pki) user: String,
    pub(in crate::pki) authority: Zeroizing<String>,
    pub(in crate::pki) certificate: Zeroizing<String>,
    pub(in crate::pki) key: Zeroizing<String>,
}

impl Identity {
    /// Reads a kubeconfig of which everything is within it and can be used.
    pub(in crate::pki) fn of(text: &str) -> Result<Self, Error> {
        let document = Document::read(text)?;
        let current = document.current()?;
        let authority = embedded(&current.cluster, AUTHORITY)?;
        let certificate = embedded(&current.user, CERTIFICATE)?;
        let key = embedded(&current.user, KEY)?;
        authorities(&current.cluster)?;
        let Client::Embedded {
            certificates,
            key: pair,
        } = client(&current.user)?
        else {
            return Err(Error::NotEmbedded(CERTIFICATE));
        };
        let leaf = &certificates[0];
        if leaf.public_key != pair.public_key() {
            return Err(unusable(format!(
                "its {KEY} is not the key of its {CERTIFICATE}"
            )));
        }
        Ok(Self {
            user: leaf.profile.common_name.clone(),
            authority,
            certificate,
            key,
        })
    }
}

fn embedded(entry: &Entry<'_>, field: &'static str) -> Result<Zeroizing<String>, Error> {
    let text = entry.text(field).ok_or(Error::NotEmbedded(field))?;
    Ok(bare(text))
}
