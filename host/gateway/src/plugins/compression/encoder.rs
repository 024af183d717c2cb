//! A body that is compressed piece by piece, and flushed whenever its upstream pauses.

use super::accept_encoding::Coding;
use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hms_core::body::{Body, BodyError, PolledFrame};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are compressed before the task yields. 64 KiB: a few milliseconds at most.
const PIECE_BYTES: usize = 64 << 10;

/// The minimum that a frame counts against [`PIECE_BYTES`], so that a run of empty ones yields too.
const FRAME_BYTES: usize = 64;

/// Of 9. Zlib's default: higher levels double the time for a percent.
const GZIP_LEVEL: u32 = 6;

/// Of 11. Smaller than gzip's default, and as fast.
const BROTLI_QUALITY: u32 = 4;

/// Log2 of the window: 256 KiB, so that an answer costs about a megabyte of memory instead of
/// eight.
const BROTLI_WINDOW: u32 = 18;

const BROTLI_BUFFER_BYTES: usize = 4 << 10;

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => {
                let level = Compression::new(GZIP_LEVEL);
                Encoder::Gzip(GzEncoder::new(Vec::new(), level))
            }
            Coding::Brotli => Encoder::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
        }
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.write_all(piece),
            Encoder::Brotli(encoder) => encoder.write_all(piece),
        }
    }

    /// Flushes everything that was written.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Brotli(encoder) => encoder.flush(),
        }
    }

    /// The output since the last call.
    fn take(&mut self) -> Bytes {
        let out = match self {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Brotli(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().map(Bytes::from),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner().into()),
        }
    }
}

/// A compressed body.
pub(super) struct Compressed {
    inner: Body,
    /// None once the last byte has been produced.
    encoder: Option<Encoder>,
    /// Input that is not compressed yet.
    waiting: Bytes,
    /// Whether something was written and not flushed.
    written: bool,
    trailers: Option<HeaderMap>,
    _place: OwnedSemaphorePermit,
}

impl Compressed {
    pub(super) fn new(inner: Body, coding: Coding, place: OwnedSemaphorePermit) -> Self {
        Compressed {
            inner,
            encoder: Some(Encoder::new(coding)),
            waiting: Bytes::new(),
            written: false,
            trailers: None,
            _place: place,
        }
    }

    /// The last bytes.
    fn finish(&mut self) -> PolledFrame {
        let Some(encoder) = self.encoder.take() else {
            return Poll::Ready(None);
        };
        let last = encoder.finish().map(Frame::data);
        Poll::Ready(Some(last.map_err(Into::into)))
    }

    fn work(&mut self, cx: &mut Context<'_>) -> PolledFrame {
        let mut worked = 0;
        loop {
            let Some(encoder) = &mut self.encoder else {
                let trailers = self.trailers.take().map(Frame::trailers);
                return Poll::Ready(trailers.map(Ok));
            };
            if !self.waiting.is_empty() {
                let piece = self.waiting.split_to(self.waiting.len().min(PIECE_BYTES));
                if let Err(error) = encoder.write(&piece) {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                self.written = true;
                let out = encoder.take();
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(out))));
                }
                worked += piece.len();
            }
            if worked >= PIECE_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.waiting.is_empty() {
                continue;
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    worked += FRAME_BYTES;
                    match frame.into_data() {
                        Ok(data) => self.waiting = data,
                        Err(frame) => {
                            self.trailers = frame.into_trailers().ok();
                            return self.finish();
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return self.finish(),
                Poll::Pending => return self.pause(),
            }
        }
    }

    /// The upstream pauses: the client must get what there is. Not after each chunk, which
    /// compresses badly if chunks are small and follow each other at once.
    fn pause(&mut self) -> PolledFrame {
        let Some(encoder) = self.encoder.as_mut().filter(|_| self.written) else {
            return Poll::Pending;
        };
        self.written = false;
        if let Err(error) = encoder.flush() {
            self.encoder = None;
            return Poll::Ready(Some(Err(error.into())));
        }
        let out = encoder.take();
        match out.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(Some(Ok(Frame::data(out)))),
        }
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        self.work(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}
