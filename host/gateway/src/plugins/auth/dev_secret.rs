//! The development secret: 32 random bytes in the data folder. `hms token` signs with it, and the
//! gateway accepts it as long as it listens only on this machine.

use super::claims::check_grant;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde::Serialize;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// The file in the data folder, mode 0600, base64url.
pub const FILE: &str = "dev-secret";

/// As long as the hash: the minimum of RFC 7518 section 3.2.
const SECRET_BYTES: usize = 32;

/// The key of development tokens. Its `Debug` reveals nothing.
#[derive(Clone)]
pub struct DevSecret([u8; SECRET_BYTES]);

impl fmt::Debug for DevSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevSecret(..)")
    }
}

impl DevSecret {
    /// The key for HMAC.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the secret in the data folder `dir`. Creates it with mode 0600 if there is none. If two
/// processes create it at once, both get the same.
pub fn load_or_create(dir: &Path) -> io::Result<DevSecret> {
    let path = dir.join(FILE);
    match load(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(dir, &path),
        read => read,
    }
}

fn load(path: &Path) -> io::Result<DevSecret> {
    let shown = path.display();
    let text = fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{shown}: {error}")))?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %shown, "the development secret is readable by others: run `chmod 600` on it");
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_ascii()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(DevSecret)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{shown} holds no development secret: remove it and a new one is made"),
            )
        })
}

fn create(dir: &Path, path: &Path) -> io::Result<DevSecret> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    // Written completely under another name first: nobody ever reads a part of it, and the link
    // fails if the file exists.
    let draft = dir.join(format!("{FILE}.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(URL_SAFE_NO_PAD.encode(secret).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        linked => linked.map(|()| DevSecret(secret)),
    }
}

/// Signs a development token for `user`.
///
/// # Errors
///
/// A sentence, if user or scopes cannot be sent as headers.
pub fn issue_token(
    secret: &DevSecret,
    user: &str,
    scopes: &[String],
    ttl: Duration,
) -> Result<String, String> {
    #[derive(Serialize)]
    struct Claims<'a> {
        sub: &'a str,
        scope: String,
        iat: u64,
        exp: u64,
    }
    check_grant(user, scopes)?;
    let iat = get_current_timestamp();
    let claims = Claims {
        sub: user,
        scope: scopes.join(" "),
        iat,
        exp: iat.saturating_add(ttl.as_secs()),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_secret_file_is_named_whatever_it_contains() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for content in [&b"\xff\xfe"[..], b"", b"short", b"not base64url!"] {
            fs::write(&path, content).unwrap();
            let why = load_or_create(dir.path()).unwrap_err().to_string();
            let expected = format!("{} holds no development secret", path.display());
            assert!(why.starts_with(&expected), "{content:?}: {why}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let why = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(why.starts_with(&path.display().to_string()), "{why}");
        fs::remove_dir(&path).unwrap();
        let made = load_or_create(dir.path()).unwrap();
        assert_eq!(load_or_create(dir.path()).unwrap().0, made.0);
    }
}
