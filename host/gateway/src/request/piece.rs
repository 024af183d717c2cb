//! A piece of an answer on its way to the client, and who is notified when it leaves.

use crate::request::untaken::Taken;
use bytes::{Buf, Bytes};
use hms_net::connection_limit::AtWork;
use std::io::IoSlice;

/// Bytes on their way to the client. HTTP/2 accepts the last piece of an answer before the client's
/// window has room for it, and then drops the answer's body.
pub struct Piece {
    bytes: Bytes,
    taken: Option<Taken>,
    _at_work: Option<AtWork>,
}

impl Piece {
    /// Sends the piece without notification.
    pub fn plain(bytes: Bytes) -> Self {
        Piece {
            bytes,
            taken: None,
            _at_work: None,
        }
    }

    /// Keeps `at_work` until the bytes have been written, and reports each byte to `taken`.
    pub fn watched(bytes: Bytes, taken: Option<Taken>, at_work: Option<AtWork>) -> Self {
        Piece {
            bytes,
            taken,
            _at_work: at_work,
        }
    }
}

impl Piece {
    fn took(&self, count: usize) {
        if let Some(taken) = &self.taken {
            taken.add(count);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.took(count);
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.took(count);
        self.bytes.copy_to_bytes(count)
    }
}
