//! Any bytes, cut anywhere, against what reads frames off a connection.
//!
//! ```text
//! cargo +nightly fuzz run frame fuzz/corpus/frame fuzz/seeds/frame -- \
//!     -max_len=16384 -max_total_time=120
//! ```
//!
//! The first byte says how large the pieces are, the rest is what a stranger sends. However it is cut, the
//! frames are the same, and written again they are the bytes that were read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stayput::peers::transport::frame::{Decoder, Error, Hello, encode};

/// Small, so that lengths beyond it are met.
const LIMIT: usize = 1024;

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Error>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next(LIMIT) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    let (frames, error) = decoded(bytes.chunks(usize::from(*size) + 1));
    assert_eq!(decoded(std::iter::once(bytes)), (frames.clone(), error));
    let mut written = Vec::new();
    for frame in &frames {
        assert!((1..=LIMIT).contains(&frame.len()));
        encode(frame, &mut written);
        if let Ok(hello) = Hello::decode(frame) {
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            assert_eq!(frame[..4], hello.encode());
        }
    }
    assert!(bytes.starts_with(&written));
});
