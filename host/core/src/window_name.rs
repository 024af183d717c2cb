//! The names of windows.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes: a DNS label (RFC 1035), since `http://hms-svc-NAME` is a host name.
const MAX_BYTES: usize = 63;

/// The name of a window: lower-case letters, digits and inner hyphens. It is also the name of the
/// window's folder, so nothing else is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct WindowName(String);

impl WindowName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The window's name for a file: `my_window.wasm` is window `my-window`.
    ///
    /// # Errors
    ///
    /// If the rest is not a valid name.
    pub fn from_file(path: &std::path::Path) -> Result<Self, String> {
        let stem = path.file_stem().unwrap_or_default();
        let Some(stem) = stem.to_str() else {
            return Err("its name is not UTF-8: rename it".into());
        };
        let name = stem.replace('_', "-").parse();
        name.map_err(|_: String| {
            format!(
                "'{}' cannot be a window's name: use 1 to {MAX_BYTES} lower-case letters, digits \
                 and inner hyphens or underscores",
                stem.escape_debug()
            )
        })
    }
}

impl FromStr for WindowName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(WindowName(text.to_owned()));
        }
        Err(format!(
            "'{}' is not a window's name: use 1 to {MAX_BYTES} lower-case letters, digits and inner hyphens",
            text.escape_debug()
        ))
    }
}

impl fmt::Display for WindowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn component_file_names_its_window() {
        let name = |file: &str| WindowName::from_file(file.as_ref()).map(|name| name.0);
        assert_eq!(name("/tmp/payments.wasm"), Ok("payments".into()));
        assert_eq!(name("my_window.wasm"), Ok("my-window".into()));
        let refused = name("Bad_Name.wasm").unwrap_err();
        assert!(refused.starts_with("'Bad_Name' cannot be"), "{refused}");
        assert!(name(".wasm").is_err());
    }

    proptest! {
        #[test]
        fn window_name_cannot_leave_its_folder(text in "\\PC{0,70}") {
            if let Ok(name) = text.parse::<WindowName>() {
                prop_assert!(!name.as_str().contains(['/', '\\', '.', '\0']));
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }
}
