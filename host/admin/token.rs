//! The admin API's credential: `DATA/admin.token`.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the token of a data folder is.
pub fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The token of a data folder, made with 256 random bits and mode 0600 where there is none.
///
/// # Errors
/// When the file cannot be read or made, or is empty.
pub fn load_or_create(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    if path.exists() {
        return load(data);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

/// The token of a data folder that a host has made.
///
/// # Errors
/// When there is none; the message says how to name another.
pub fn load(data: &Path) -> anyhow::Result<String> {
    let path = path(data);
    let token = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "the admin token {} cannot be read: name the host's data folder with --data, or set HMS_ADMIN_TOKEN",
            path.display()
        )
    })?;
    let token = token.trim().to_owned();
    anyhow::ensure!(
        !token.is_empty(),
        "{} is empty: delete it and start the host anew",
        path.display()
    );
    Ok(token)
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
    fn an_empty_token_admits_nobody() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(path(data.path()), "\n").unwrap();
        assert!(load_or_create(data.path()).is_err());
    }
}
