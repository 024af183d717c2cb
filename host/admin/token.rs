//! The admin API's credential: `DATA/admin.token`.

use crate::files::write_whole_private;
use crate::permissions::warn_if_readable;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Characters of a token at least. Ours have 43; a crash of the machine can leave a file empty, cut short or zeroed.
const MIN_CHARS: usize = 32;

/// Where the token of a data folder is.
pub fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The token of a data folder, made with 256 random bits and mode 0600 where there is none that can be used.
///
/// # Errors
/// When the file cannot be read or made.
pub fn load_or_create(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    match std::fs::read(&path) {
        Ok(bytes) => {
            if let Some(token) = usable(&bytes) {
                warn_if_readable(&path, "the admin token");
                return Ok(token);
            }
            tracing::warn!(
                "{} holds no token of at least {MIN_CHARS} characters: a new one is made",
                path.display()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    write_whole_private(&path, token.as_bytes())
        .with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(token)
}

/// The token of a data folder that a host has made.
///
/// # Errors
/// When there is none that can be used; the message says how to name another.
pub fn load(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    let bytes = std::fs::read(&path).with_context(|| {
        format!(
            "the admin token {} cannot be read: name the host's data folder with --data, or set HMS_ADMIN_TOKEN",
            path.display()
        )
    })?;
    usable(&bytes).with_context(|| {
        format!(
            "{} holds no token: start the host anew, and it makes one",
            path.display()
        )
    })
}

/// The token in the bytes of a file, if it can be one: what a crash left of a file is no credential.
fn usable(bytes: &[u8]) -> Option<String> {
    let token = std::str::from_utf8(bytes).ok()?.trim();
    let whole = token.len() >= MIN_CHARS && token.bytes().all(|byte| byte.is_ascii_graphic());
    whole.then(|| token.to_owned())
}

/// Compares in a time that does not depend on where the two differ: by their digests.
pub fn matches(given: &str, expected: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let first = load_or_create(data.path()).unwrap();
        assert_eq!(first, load_or_create(data.path()).unwrap());
        assert!(matches(&first, &load(data.path()).unwrap()));
        assert!(!matches(&first[1..], &first));
        let mode = std::fs::metadata(path(data.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_a_crash_leaves_of_a_token_is_made_anew_and_admits_nobody() {
        let data = tempfile::tempdir().unwrap();
        for left in [
            &b""[..],
            b"\n",
            &[0; 43],
            b"half-a-token",
            b"a token with spaces is no token at all",
        ] {
            std::fs::write(path(data.path()), left).unwrap();
            assert!(load(data.path()).is_err(), "{left:?}");
            let token = load_or_create(data.path()).unwrap();
            assert_eq!(token.len(), 43);
            assert_eq!(load(data.path()).unwrap(), token);
            let mode = std::fs::metadata(path(data.path())).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        }
        // One that an operator wrote stays.
        let own = "0123456789abcdef0123456789abcdef";
        std::fs::write(path(data.path()), format!("{own}\n")).unwrap();
        assert_eq!(load_or_create(data.path()).unwrap(), own);
    }
}
