//! Secrets: where their values come from, and values that leave no trace.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file of mode 0400 or 0600; looser ones are refused. Relative to the folder of the grants.
    File(PathBuf),
    /// A file of this name in `$CREDENTIALS_DIRECTORY` (systemd's credentials).
    Credential(String),
}

/// The value of a secret. Printed, it is `***`; its memory is cleared when it is given back.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes the value over.
    pub fn new(value: Vec<u8>) -> Self {
        Secret(Arc::new(Zeroizing::new(value)))
    }

    /// The value itself. Whoever asks for it keeps it out of logs, answers and errors.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The values of a window's secrets, by name. One whose file cannot be read is not there.
pub type Secrets = BTreeMap<String, Secret>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_secret_shows_nothing_of_its_value() {
        let secrets = Secrets::from([("key".to_owned(), Secret::new(b"sk_live_42".to_vec()))]);
        let printed = format!("{secrets:?} {secrets:#?}");
        assert!(
            !printed.contains("sk_live") && printed.contains("***"),
            "{printed}"
        );
    }
}
