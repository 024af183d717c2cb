//! Compresses files, each once.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file `TAG.END` in `folder`, of what `compress` makes of `bytes`; it is made where it is not
/// there yet. None where the result is not smaller.
pub(super) fn kept(
    folder: &Path,
    tag: &str,
    end: &str,
    bytes: &[u8],
    compress: fn(&[u8]) -> io::Result<Vec<u8>>,
) -> io::Result<Option<PathBuf>> {
    let path = folder.join(format!("{tag}.{end}"));
    let packed = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(_) => {
            let packed = compress(bytes)?;
            // Whole or not at all: a build may be interrupted.
            let temporary = path.with_extension(format!("{end}.new"));
            fs::write(&temporary, &packed)?;
            fs::rename(&temporary, &path)?;
            packed.len() as u64
        }
    };
    Ok((packed < bytes.len() as u64).then_some(path))
}

/// Brotli at its best.
pub(super) fn brotli(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 24,
        size_hint: bytes.len(),
        ..Default::default()
    };
    let (mut input, mut packed) = (bytes, Vec::new());
    brotli::BrotliCompress(&mut input, &mut packed, &params)?;
    Ok(packed)
}

/// Gzip at its best.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
