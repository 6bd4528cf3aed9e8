//! Any archive, against what `certs unbundle` does before it looks at the machine.
//!
//! ```text
//! cargo +nightly fuzz run bundle fuzz/corpus/bundle fuzz/seeds/bundle -- \
//!     -max_len=16384 -max_total_time=120
//! ```
//!
//! What is read can be written, and is the same when it is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stayput::pki::bundle::Bundle;

#[path = "../../tests/sample/mod.rs"]
mod sample;

fuzz_target!(|input: &[u8]| {
    // The end that every archive must have; the fuzzer should not have to find it.
    let archive = [input, &[0; 1024]].concat();
    let Ok(bundle) = Bundle::read(archive.as_slice(), sample::shared()) else {
        return;
    };
    let _ = bundle.check(1_764_000_000);
    let _ = bundle.keyless();
    let mut written = Vec::new();
    bundle.write(&mut written).expect("an archive in memory");
    let again = Bundle::read(written.as_slice(), sample::shared()).expect("an archive of our own");
    let mut twice = Vec::new();
    again.write(&mut twice).expect("an archive in memory");
    assert_eq!(written, twice);
});
