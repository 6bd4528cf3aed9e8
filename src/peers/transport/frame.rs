//! What a connection carries: frames, of which the first of each side is a hello.
//!
//! A frame is its length in bytes as a big-endian `u32`, at least 1, and that many bytes. `docs/protocol.md` has
//! all of it.

use std::collections::VecDeque;

/// The version that this program speaks.
pub const VERSION: u8 = 1;
/// The longest hello, in bytes; what later versions add is passed over.
pub const HELLO_LIMIT: usize = 64;
/// The bytes of the length.
pub(super) const HEAD: usize = 4;

/// What cannot be a frame, or a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame of no bytes.
    #[error("a frame is empty")]
    Empty,
    /// More than is taken.
    #[error("a frame of {length} bytes; at most {limit} are taken")]
    TooLong {
        /// What was announced.
        length: u32,
        /// What is taken.
        limit: usize,
    },
    /// The first frame is no hello.
    #[error("the first frame is no hello")]
    NoHello,
    /// A hello of another version.
    #[error("it speaks version {0} of the protocol, and this program {VERSION}")]
    Version(u8),
}

/// Takes bytes as they come, and gives frames.
///
/// It never holds more than what was read: a length alone allocates nothing.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: VecDeque<u8>,
}

impl Decoder {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next frame of at most `limit` bytes, once all of it is there. After an error the connection
    /// is of no use any more.
    pub fn next(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut head = [0; HEAD];
        if self.bytes.len() < HEAD {
            return Ok(None);
        }
        for (byte, read) in head.iter_mut().zip(&self.bytes) {
            *byte = *read;
        }
        let length = u32::from_be_bytes(head);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        match bytes {
            0 => return Err(Error::Empty),
            _ if bytes > limit => return Err(Error::TooLong { length, limit }),
            _ if self.bytes.len() - HEAD < bytes => return Ok(None),
            _ => {}
        }
        self.bytes.drain(..HEAD);
        let frame = self.bytes.drain(..bytes).collect();
        if self.bytes.is_empty() {
            // A connection at rest holds no buffer.
            self.bytes = VecDeque::new();
        }
        Ok(Some(frame))
    }

    /// Whether a frame has begun and not ended.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// Appends a frame. One that is empty or longer than a length can say is left out; the callers bound
/// what they send far below.
pub fn encode(bytes: &[u8], into: &mut Vec<u8>) {
    match u32::try_from(bytes.len()) {
        Ok(length) if length > 0 => {
            into.extend(length.to_be_bytes());
            into.extend(bytes);
        }
        _ => {}
    }
}

/// What a side wants of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To exchange frames; only whoever proved itself may.
    Member,
    /// To be sent all records once, and nothing else.
    Pull,
}

/// The first frame of each side: version, purpose, and port in big-endian order, together 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// What the connection is for. The side that was dialled repeats the other's word.
    pub purpose: Purpose,
    /// The port at which the sender takes connections; 0 where it takes none.
    pub port: u16,
}

impl Hello {
    /// As the bytes of a frame.
    pub fn encode(self) -> Vec<u8> {
        let purpose = match self.purpose {
            Purpose::Member => 0,
            Purpose::Pull => 1,
        };
        let [high, low] = self.port.to_be_bytes();
        vec![VERSION, purpose, high, low]
    }

    /// From the bytes of a frame.
    pub fn decode(frame: &[u8]) -> Result<Self, Error> {
        match frame {
            [version, ..] if *version != VERSION => Err(Error::Version(*version)),
            [_, purpose @ (0 | 1), high, low, ..] if frame.len() <= HELLO_LIMIT => Ok(Self {
                purpose: if *purpose == 0 {
                    Purpose::Member
                } else {
                    Purpose::Pull
                },
                port: u16::from_be_bytes([*high, *low]),
            }),
            _ => Err(Error::NoHello),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(pieces: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(frame) = decoder.next(limit)? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_arrive_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10),
            cut in 1_usize..20,
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                encode(frame, &mut bytes);
            }
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(decoded(&pieces, 50).unwrap(), frames);
        }
    }

    proptest! {
        /// As the fuzz target `frame`.
        #[test]
        fn any_bytes_give_the_same_however_they_are_cut(
            lengths in prop::collection::vec(0_u8..12, 0..8),
            noise in prop::collection::vec(any::<u8>(), 0..40),
            cut in 1_usize..20,
        ) {
            let mut bytes = Vec::new();
            for length in lengths {
                bytes.extend([0, 0, 0, length]);
                bytes.extend(vec![7; usize::from(length)]);
            }
            bytes.extend(noise);
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(decoded(&pieces, 9), decoded(&[&bytes], 9));
            let mut written = Vec::new();
            for frame in decoded(&pieces, 9).unwrap_or_default() {
                encode(&frame, &mut written);
            }
            prop_assert!(bytes.starts_with(&written));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_by_its_length_alone() {
        for (bytes, want) in [
            (&[0, 0, 0, 0][..], Error::Empty),
            (
                &[0, 0, 0, 9],
                Error::TooLong {
                    length: 9,
                    limit: 8,
                },
            ),
            (
                &[255; 4],
                Error::TooLong {
                    length: u32::MAX,
                    limit: 8,
                },
            ),
        ] {
            assert_eq!(decoded(&[bytes], 8), Err(want));
        }
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 255, 255, 1]);
        assert_eq!(decoder.next(65_535), Ok(None));
        assert!(decoder.has_begun() && decoder.bytes.capacity() < 1000);
    }

    #[test]
    fn hellos() {
        for purpose in [Purpose::Member, Purpose::Pull] {
            let hello = Hello {
                purpose,
                port: 8442,
            };
            let mut bytes = hello.encode();
            assert_eq!(Hello::decode(&bytes), Ok(hello));
            bytes.extend([7; 60]);
            assert_eq!(Hello::decode(&bytes), Ok(hello), "of a later program");
        }
        for (bytes, want) in [
            (&b""[..], Error::NoHello),
            (&[1], Error::NoHello),
            (&[1, 0, 0], Error::NoHello),
            (&[1, 2, 0, 0], Error::NoHello),
            (&[2, 0, 0, 0], Error::Version(2)),
            (&[1; 65], Error::NoHello),
        ] {
            assert_eq!(Hello::decode(bytes), Err(want), "{bytes:?}");
        }
    }
}
