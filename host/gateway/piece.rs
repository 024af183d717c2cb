//! A piece of an answer, which may keep its connection at work until it is sent.

use crate::places::AtWork;
use bytes::{Buf, Bytes};
use std::io::IoSlice;

/// Bytes on their way to the client. HTTP/2 takes the last piece of an answer before the client's
/// window has room for it, and with that the answer's body is gone.
pub struct Piece {
    bytes: Bytes,
    _at_work: Option<AtWork>,
}

impl Piece {
    /// Keeps `at_work` until the bytes have been written.
    pub fn new(bytes: Bytes, at_work: Option<AtWork>) -> Self {
        Piece {
            bytes,
            _at_work: at_work,
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
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.bytes.copy_to_bytes(count)
    }
}
