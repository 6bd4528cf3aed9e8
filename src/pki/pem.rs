//! PEM (RFC 7468): blocks are written as OpenSSL and Go write them, and faults of others' blocks are
//! told without a byte of what is in them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::Error;
use zeroize::Zeroizing;

/// Characters of a line (RFC 7468, 2).
const LINE: usize = 64;

/// A block. The text is wiped when dropped: it may hold a key.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let length = der.len().div_ceil(3) * 4;
    let mut body = Zeroizing::new(vec![0; length]);
    // The buffer is as long as the encoding, which is ASCII.
    let written = STANDARD.encode_slice(der, &mut body).unwrap_or_default();
    // Never grown: a copy that was too short would stay in memory.
    let whole = 2 * (label.len() + 17) + length + length.div_ceil(LINE) + 2;
    let mut text = Zeroizing::new(String::with_capacity(whole));
    let marker = |text: &mut String, word: &str| {
        for part in ["-----", word, " ", label, "-----\n"] {
            text.push_str(part);
        }
    };
    marker(&mut text, "BEGIN");
    for line in body[..written].chunks(LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    marker(&mut text, "END");
    text
}

/// What is wrong with the blocks of a text, for people.
pub(super) fn fault(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "a PEM block has no end; the file is cut off",
        Error::IllegalSectionStart { .. } => "a PEM block's first line is damaged",
        Error::Base64Decode(_) => "a PEM block is not base64",
        _ => "its PEM blocks cannot be read",
    }
}
