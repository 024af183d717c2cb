//! A folder of grants files, with the secrets that they name.

use super::{replace_file, root};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What windows are granted. Ends with the test.
pub struct Grants(TempDir);

impl Default for Grants {
    fn default() -> Self {
        Grants::new()
    }
}

impl Grants {
    pub fn new() -> Grants {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        Grants(folder)
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// For `hms serve`.
    pub fn args(&self) -> Vec<String> {
        vec!["--grants".into(), self.folder().to_str().unwrap().into()]
    }

    /// Writes what `window` is granted.
    pub fn write(&self, window: &str, text: &str) {
        replace_file(&self.folder().join(format!("{window}.yaml")), text);
    }

    /// Writes a secret, which grants name by `{file: secrets/NAME}`.
    pub fn secret(&self, name: &str, value: &str) -> PathBuf {
        let path = self.folder().join("secrets").join(name);
        let being_written = self.folder().join("secrets").join(format!(".{name}"));
        fs::write(&being_written, value).unwrap();
        fs::set_permissions(&being_written, Permissions::from_mode(0o600)).unwrap();
        fs::rename(being_written, &path).unwrap();
        path
    }
}

/// The repository's own file for `window`, as an operator makes it who takes the `#` away from its
/// settings and connects the service at `url` in place of `example`. Prose begins with a capital
/// letter, or stands above the first empty line.
pub fn connected(window: &str, example: &str, url: &str) -> String {
    let file = root().join("windows").join(format!("{window}.yaml"));
    let text = fs::read_to_string(file).unwrap();
    let (_, settings) = text.split_once("\n\n").unwrap();
    let mut lines = Vec::new();
    for line in settings.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = match line.trim_start().strip_prefix("# ") {
            Some(prose) if prose.starts_with(char::is_uppercase) => continue,
            Some(setting) => format!("{}{setting}", &line[..indent]),
            None => line.to_owned(),
        };
        let is_entry = line.starts_with("  - to: ");
        lines.push(line.replace(example, url));
        if is_entry {
            // The services of tests are on this machine.
            lines.push("    private: [127.0.0.0/8]".to_owned());
        }
    }
    assert!(lines.iter().any(|line| line.contains(url)), "{lines:?}");
    lines.join("\n")
}

#[test]
fn settings_of_the_repository_are_whole_without_their_comment_signs() {
    for (window, example) in [
        ("notifications", "https://sms.example"),
        ("payments", "https://api.card.example"),
    ] {
        let text = connected(window, example, "http://127.0.0.1:1");
        for part in ["outbound:\n  - to: http", "secrets:\n  ", "\nconfig:\n  "] {
            assert!(text.contains(part), "{window}: {part:?}\n{text}");
        }
    }
}
