//! The file of native code: the compiler's output for one component, followed by a seal that
//! reveals damage before any of it is mapped as code.
//!
//! The seal is a SHA-256 over the component's digest and the code. So neither a damaged file nor
//! one under another component's name passes. It is not a signature: whoever can write the folder
//! can make one.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Separates the code from the seal. Changes with the format of the file.
const MARK: [u8; 16] = *b"\0hms native 1\0\0\0";

/// The marker, followed by the SHA-256.
const SEAL_BYTES: usize = MARK.len() + 32;

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Part of the names of files, so that a host with another format compiles again and does not take
/// the old files for damaged.
pub const FORM: u8 = 1;

/// The file is not what the compiler wrote for that component.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The file does not end in a seal.
    #[error("it has no seal: it was cut short, or written by something else")]
    NoSeal,
    /// The content does not match the seal.
    #[error("its SHA-256 is not the one it was sealed with")]
    Altered,
    /// The error of the file system.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `code`, with the seal for the component with the digest `component`, to a new file of
/// mode 0600. On disk when this returns.
///
/// # Errors
/// If the file exists, or cannot be written.
pub fn write(path: &Path, component: &str, code: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let seal = begin(component).chain_update(code).finalize();
    file.write_all(code)?;
    file.write_all(&MARK)?;
    file.write_all(&seal)?;
    file.sync_all()
}

/// Checks a whole open file against its seal. A megabyte takes about 0.7 ms if the processor has
/// SHA instructions.
///
/// # Errors
/// Why it is not the native code of the component with the digest `component`.
pub fn check(file: &File, component: &str) -> Result<(), Damage> {
    let bytes = file.metadata()?.len();
    let code_bytes = bytes.checked_sub(SEAL_BYTES as u64).ok_or(Damage::NoSeal)?;
    let (mut hasher, mut code) = (begin(component), file.take(code_bytes));
    let mut chunk = vec![0; CHUNK_BYTES];
    while let read @ 1.. = code.read(&mut chunk)? {
        hasher.update(chunk.get(..read).unwrap_or_default());
    }
    let mut seal = [0; SEAL_BYTES];
    let mut rest = file;
    rest.read_exact(&mut seal)?;
    let (mark, digest) = seal.split_at(MARK.len());
    match (mark == MARK, digest == hasher.finalize().as_slice()) {
        (false, _) => Err(Damage::NoSeal),
        (true, false) => Err(Damage::Altered),
        (true, true) => Ok(()),
    }
}

fn begin(component: &str) -> Sha256 {
    Sha256::new_with_prefix(MARK).chain_update(component)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn altered_truncated_and_foreign_native_code_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("native");
        let code: Vec<u8> = (0..CHUNK_BYTES + 1000).map(|at| (at % 251) as u8).collect();
        write(&path, "component", &code).unwrap();
        let check_now = |component| check(&File::open(&path).unwrap(), component);
        check_now("component").unwrap();
        assert!(matches!(check_now("another"), Err(Damage::Altered)));
        assert!(
            write(&path, "component", &code).is_err(),
            "it is there already"
        );

        let good = fs::read(&path).unwrap();
        assert_eq!(good[..code.len()], code);
        for at in (0..good.len())
            .step_by(4099)
            .chain([good.len() - 1, code.len()])
        {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(check_now("component").is_err(), "a bit flipped at {at}");
        }
        for length in [0, 10, SEAL_BYTES, code.len(), good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(check_now("component").is_err(), "cut to {length}");
        }
        fs::write(&path, [&good[..], b"more"].concat()).unwrap();
        assert!(check_now("component").is_err(), "with more behind it");
        fs::write(&path, vec![0; good.len()]).unwrap();
        assert!(check_now("component").is_err(), "zeroed");
        fs::write(&path, good).unwrap();
        check_now("component").unwrap();
    }
}
