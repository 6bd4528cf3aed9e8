//! Frames that wait for one peer: the oldest makes room, because what is said later is newer.

use std::collections::VecDeque;

use super::frame;
use super::limits::Limits;

/// What one write takes, in bytes; a single frame may be longer.
const BATCH: usize = 32 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a frame at the end, and tells how many were dropped for it.
    pub(super) fn push(&mut self, frame: Vec<u8>, limits: &Limits) -> usize {
        if frame.is_empty() || frame.len() > limits.frame_bytes.min(limits.queue_bytes) {
            return 1;
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        let before = self.frames.len();
        while self.frames.len() > limits.queue_frames || self.bytes > limits.queue_bytes {
            self.drop_oldest();
        }
        before - self.frames.len()
    }

    /// Drops the oldest; tells whether there was one.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let oldest = self.frames.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, Vec::len);
        oldest.is_some()
    }

    /// All that waits, and nothing is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        std::mem::take(self).frames.into_iter()
    }

    /// Encodes the next frames, about as many bytes as one write takes. Tells how many they were.
    pub(super) fn encode_next(&mut self, into: &mut Vec<u8>) -> usize {
        let mut number = 0;
        while into.len() < BATCH
            && let Some(frame) = self.frames.pop_front()
        {
            self.bytes -= frame.len();
            frame::encode(&frame, into);
            number += 1;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let limits = Limits {
            queue_frames: 3,
            queue_bytes: 10,
            ..Limits::default()
        };
        let mut queue = Queue::default();
        let dropped: usize = (1..=5).map(|byte| queue.push(vec![byte], &limits)).sum();
        assert_eq!((dropped, queue.bytes()), (2, 3));
        assert_eq!(queue.push(vec![6; 9], &limits), 2, "by bytes");
        assert_eq!(queue.push(vec![7; 11], &limits), 1, "itself");
        assert_eq!(queue.push(Vec::new(), &limits), 1, "no frame");
        let mut bytes = Vec::new();
        assert_eq!(queue.encode_next(&mut bytes), 2);
        assert_eq!(bytes[..5], [0, 0, 0, 1, 5]);
        assert!(queue.is_empty() && queue.bytes() == 0);
    }
}
