//! Any bytes, against everything that reads records: from other nodes, and from the file.
//!
//! ```text
//! cargo +nightly fuzz run record fuzz/corpus/record fuzz/seeds/record -- \
//!     -max_len=5000 -max_total_time=120
//! ```
//!
//! What is read is written as the same bytes, and nothing that the fuzzer finds is anybody's word: it has
//! no key.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stayput::address::Loopback;
use stayput::name::Name;
use stayput::peers::record::{Digest, LIMIT, Record};
use stayput::peers::statement::{ADDRESSES, Says, Statement};
use stayput::peers::store;
use stayput::peers::trust::{Time, Trust};
use stayput::peers::verify::verify;
use stayput::pki::certificate::Certificate;

/// An authority whose key nobody has.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let pem = include_bytes!("../authority.crt");
    Trust {
        authorities: Certificate::parse_pem(pem).expect("a certificate").into(),
        cluster: Name::parse("k8s.internal").expect("a name"),
        loopback: Loopback::Refused,
        time: Time::Any,
    }
});

fuzz_target!(|input: &[u8]| {
    if let Ok(statement) = Statement::decode(input, Loopback::Refused) {
        let again = statement.encode(Loopback::Refused).expect("what was read");
        assert_eq!(again, input);
        if let Says::At(addresses) = &statement.says {
            assert!((1..=ADDRESSES).contains(&addresses.len()));
        }
    }
    if let Ok(record) = Record::decode(input) {
        assert!(input.len() <= LIMIT);
        assert_eq!(record.encode().expect("what was read"), input);
        let judged = verify(&record, &TRUST);
        // The seeds have one good record; whatever else is accepted says the same.
        if let Ok(verified) = judged {
            assert_eq!(verified.statement().version, 300);
        }
    }
    // The file's digest; the fuzzer should not have to find it.
    let mut file = [store::FORMAT, input].concat();
    let digest = Digest::of(&file);
    file.extend(digest.0);
    let _ = store::parse(&file);
    let _ = store::parse(input);
});
