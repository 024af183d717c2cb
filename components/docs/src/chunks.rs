//! A document's bytes, cut into chunks. Only the last one may be shorter than the others.

use hms_window::{Store, StoreError};
use std::mem;
use std::ops::Range;

/// A little under 256 KiB: with its key and its page's own bytes a chunk just fits a page of a
/// power of two.
pub const CHUNK_BYTES: usize = 252 * 1024;

/// Chunks written in one commit: fewer waits for the disk, and half a MiB in memory here and again
/// in the host.
const CHUNKS_AT_ONCE: usize = 2;

fn key(number: u64) -> String {
    format!("{number:06}")
}

/// Cuts what it is given into chunks, and stores them.
pub struct Writer {
    store: Store,
    chunk: Vec<u8>,
    batch: Vec<(String, Vec<u8>)>,
    number: u64,
}

impl Writer {
    /// A writer into an empty part of the store.
    pub fn new(store: Store) -> Self {
        Writer {
            store,
            chunk: Vec::new(),
            batch: Vec::new(),
            number: 0,
        }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.chunk.capacity() == 0 {
                self.chunk.reserve_exact(CHUNK_BYTES);
            }
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.cut()?;
            }
        }
        Ok(())
    }

    /// Stores what is left. All chunks are on disk when this returns.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if !self.chunk.is_empty() {
            self.cut()?;
        }
        self.flush()
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        let full = mem::take(&mut self.chunk);
        self.batch.push((key(self.number), full));
        self.number += 1;
        if self.batch.len() < CHUNKS_AT_ONCE {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.store.set_many(&self.batch)?;
        self.batch.clear();
        Ok(())
    }
}

/// The chunks that hold the given bytes of a document, each with the part of it that is wanted.
pub fn cover(bytes: Range<u64>) -> impl Iterator<Item = (String, Range<usize>)> {
    let size = CHUNK_BYTES as u64;
    let numbers = bytes.start / size..bytes.end.div_ceil(size);
    numbers.map(move |number| {
        let start = bytes.start.saturating_sub(number * size);
        let end = (bytes.end - number * size).min(size);
        // Both are at most CHUNK_BYTES.
        (key(number), start as usize..end as usize)
    })
}

/// The wanted part of a chunk, in the same memory; none where the chunk is shorter.
pub fn part(mut chunk: Vec<u8>, wanted: Range<usize>) -> Option<Vec<u8>> {
    if wanted.start > wanted.end || wanted.end > chunk.len() {
        return None;
    }
    chunk.truncate(wanted.end);
    chunk.drain(..wanted.start);
    Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_parts_cover_the_requested_bytes_exactly() {
        let size = CHUNK_BYTES as u64;
        let edges = [
            0,
            1,
            size - 1,
            size,
            size + 1,
            3 * size - 1,
            3 * size,
            3 * size + 7,
        ];
        for (start, end) in edges
            .iter()
            .flat_map(|a| edges.iter().map(move |b| (*a, *b)))
        {
            if start >= end {
                continue;
            }
            let mut next = start;
            for (key, part) in cover(start..end) {
                let base = key.parse::<u64>().unwrap() * size;
                assert_eq!(base + part.start as u64, next, "no gap, no overlap");
                assert!(part.start < part.end && part.end <= CHUNK_BYTES);
                next = base + part.end as u64;
            }
            assert_eq!(next, end);
        }
        assert_eq!(cover(0..0).count(), 0);
    }

    #[test]
    fn part_beyond_its_chunk_is_none() {
        let chunk = || vec![0, 1, 2, 3];
        assert_eq!(part(chunk(), 0..4), Some(chunk()));
        assert_eq!(part(chunk(), 1..3), Some(vec![1, 2]));
        assert_eq!(part(chunk(), 2..5), None);
    }

    #[test]
    fn chunk_keys_sort_by_number() {
        assert!(key(9) < key(10) && key(99_999) < key(100_000));
    }
}
