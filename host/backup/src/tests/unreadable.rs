//! Streams that are no tar, and what is said of those that cannot be read on.

use super::super::stream::Packed;
use super::*;
use std::io::{self, Read};

/// No byte of the stream itself, and nothing that a terminal would not show.
fn check_words(why: &str) {
    let plain = |c: char| c == 'ü' || ('\x20'..='\x7e').contains(&c);
    assert!(why.chars().all(plain), "{why:?}");
    assert!(!why.contains("numeric field"), "{why}");
}

#[test]
fn compressed_backup_error_names_the_command_to_unpack_it() {
    let zstd = b"\x28\xb5\x2f\xfd\x24\x05\x29\x00\x00hello\xff\xfe".as_slice();
    let rest = [0xa5; 2000];
    for (magic, undo) in [
        (zstd, "zstd -dc FILE | hms backup --verify -"),
        (b"\x1f\x8b\x08\x00", "gzip -dc FILE |"),
        (b"\xfd7zXZ\0\0\x04", "xz -dc FILE |"),
        (b"BZh91AY&SY", "bzip2 -dc FILE |"),
        (b"age-encryption.org/v1\n-> X", "age -d FILE |"),
    ] {
        let bytes = [magic, &rest].concat();
        let read = read_stream(&*bytes, &mut Verify(&mut |_, _| {}));
        assert!(read.unwrap_err().is::<Packed>());
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let restored = restore(stream(bytes.clone()), &data, false).unwrap_err();
        for why in [verify(&bytes).unwrap_err(), restored] {
            assert!(why.contains(undo), "{why}");
            check_words(&why);
        }
        assert!(!data.exists());
    }
}

#[test]
fn error_about_a_stream_contains_none_of_its_bytes() {
    let tar = Sample::new().tar();
    let noise: Vec<u8> = (0..4096_u32)
        .map(|i| (i * 167 % 251) as u8 | 0x80)
        .collect();
    let why = verify(&noise).unwrap_err();
    assert!(why.contains("not a tar stream"), "{why}");
    check_words(&why);
    // In the headers, from the second on.
    for block in 2..12 {
        let mut spoilt = tar.clone();
        spoilt[block * 512..(block + 1) * 512].copy_from_slice(&noise[..512]);
        check_words(&verify(&spoilt).err().unwrap_or_default());
    }
    let mut spoilt = tar.clone();
    spoilt[1024 + 148..1024 + 156].copy_from_slice(b"\x1b[31m\xff\xff\x07");
    let why = verify(&spoilt).unwrap_err();
    assert!(why.contains("damaged or cut short"), "{why}");
    check_words(&why);
}

/// Some bytes, and then no more.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::other("the wire is cut")),
            read => Ok(read),
        }
    }
}

#[test]
fn read_error_is_not_reported_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Sample::new().tar();
    for bytes in [0, 100, 512, 700, 1024, 5000, tar.len() - 2000] {
        let failing = || Failing(Cursor::new(tar[..bytes].to_vec()));
        let data = dir.path().join("data");
        let restored = restore(Source::Stream(Box::new(failing())), &data, false);
        let looked_at = read_stream(failing(), &mut Verify(&mut |_, _| {}));
        let looked_at = looked_at.map_err(|error| format!("{error:#}"));
        for why in [restored.unwrap_err(), looked_at.unwrap_err()] {
            let expected = format!("it broke off after {bytes} bytes: the wire is cut");
            assert_eq!(why, expected);
        }
    }
}
