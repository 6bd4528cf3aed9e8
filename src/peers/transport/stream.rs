//! Reading and writing frames with time limits.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use super::counters::Failure;
use super::frame::{self, Decoder};
use super::tls::{self, Stream};

/// What is read at once, in bytes.
const CHUNK: usize = 4 << 10;

/// Why nothing more can be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It took too long.
    #[error("a frame was begun and not finished in time")]
    Slow,
    /// The other side does not take what is written.
    #[error("it does not take what it is sent")]
    Stalled,
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error("{}", tls::words(.0))]
    Io(#[from] io::Error),
}

impl Error {
    /// How it is counted.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Slow => Failure::Slow,
            Self::Stalled => Failure::Stalled,
            Self::Frame(_) => Failure::Frame,
            Self::Io(error) => tls::failure(error),
        }
    }
}

/// A connection after its handshake, both directions apart.
#[derive(Debug)]
pub(super) struct Halves {
    pub(super) reader: Reader<ReadHalf<Stream>>,
    pub(super) writer: WriteHalf<Stream>,
}

impl Halves {
    pub(super) fn new(stream: Stream) -> Self {
        let (read, writer) = tokio::io::split(stream);
        Self {
            reader: Reader::new(read),
            writer,
        }
    }
}

/// Frames out of a stream of bytes.
#[derive(Debug)]
pub(super) struct Reader<R> {
    read: R,
    decoder: Decoder,
    chunk: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(read: R) -> Self {
        Self {
            read,
            decoder: Decoder::default(),
            chunk: vec![0; CHUNK],
        }
    }

    /// The next frame of at most `limit` bytes, which may come at any time, but from its first byte on
    /// within `whole`. `None` at an end that the other side has signed (`close_notify`).
    pub(super) async fn next(
        &mut self,
        limit: usize,
        whole: Duration,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut begun = None;
        loop {
            if let Some(frame) = self.decoder.next(limit)? {
                return Ok(Some(frame));
            }
            let reading = self.read.read(&mut self.chunk);
            let number = if self.decoder.has_begun() {
                let since = *begun.get_or_insert_with(Instant::now);
                let read = timeout_at(since + whole, reading).await;
                read.map_err(|_| Error::Slow)??
            } else {
                reading.await?
            };
            match self.chunk.get(..number) {
                Some([]) | None if self.decoder.has_begun() => {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Some([]) | None => return Ok(None),
                Some(bytes) => self.decoder.push(bytes),
            }
        }
    }
}

/// Writes all of it within the time.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    within: Duration,
) -> Result<(), Error> {
    let writing = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    let written = timeout(within, writing).await;
    Ok(written.map_err(|_| Error::Stalled)??)
}

/// Writes one frame within the time.
pub(super) async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: &[u8],
    within: Duration,
) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(frame.len() + 4);
    frame::encode(frame, &mut bytes);
    write(writer, &bytes, within).await
}
