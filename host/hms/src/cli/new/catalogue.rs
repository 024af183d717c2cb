//! What there is to begin with: the languages, and their templates in the program.

use anyhow::bail;
use hms_windows::WindowName;
use std::collections::BTreeSet;
use std::str::FromStr;

/// Every file, by its name: `templates/LANG/TEMPLATE/…` and `vendor/LANG/TEMPLATE/…`. Of a kit
/// that all templates of a language have, the template is [`COMMON`].
pub(super) static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/author_files.rs"));

/// What every template of a language has, unless it has a file of this name itself.
pub(super) const COMMON: &str = "_common";

/// The templates, each in a sentence.
pub(super) const TEMPLATES: [(&str, &str); 7] = [
    ("http", "answers requests"),
    (
        "crud",
        "keeps things in its store: create, read, list, change, delete",
    ),
    (
        "upload",
        "takes files of any size and gives them back, in streams",
    ),
    (
        "events",
        "emits events, and receives those of other windows",
    ),
    ("middleware", "stands between a route and its window"),
    ("static", "serves the files of a folder, as a site"),
    ("proxy", "asks a service over HTTP, by a grant"),
];

/// A language that windows are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Language {
    /// As `--lang` has it.
    pub name: &'static str,
    /// As a sentence has it.
    pub title: &'static str,
}

/// The languages, in the order in which they are listed.
pub(super) static LANGUAGES: [Language; 5] = [
    Language::new("rust", "Rust"),
    Language::new("js", "JavaScript"),
    Language::new("ts", "TypeScript"),
    Language::new("python", "Python"),
    Language::new("c", "C"),
];

/// Names that a Rust package cannot have: keywords, and what its code or its tests name.
const TAKEN_IN_RUST: &str = "abstract alloc as async await become box break bytes const continue \
    core crate do dyn else enum extern false final fn for gen hms-window http if impl in let loop \
    macro match mod move mut override priv proc-macro pub ref return self serde serde-json static \
    std struct super test trait true try type typeof unsafe unsized use virtual where while yield";

impl Language {
    const fn new(name: &'static str, title: &'static str) -> Self {
        Language { name, title }
    }

    /// Its templates that are in the program, in the order of [`TEMPLATES`].
    pub(super) fn templates(&self) -> Vec<&'static str> {
        let prefix = format!("templates/{}/", self.name);
        let found: BTreeSet<&str> = (FILES.iter())
            .filter_map(|(name, _)| name.strip_prefix(&*prefix)?.split_once('/'))
            .map(|(template, _)| template)
            .collect();
        let known = TEMPLATES.iter().map(|(name, _)| *name);
        known.filter(|name| found.contains(name)).collect()
    }

    /// # Errors
    /// A name that is good for a window, and not for this language's package.
    pub(super) fn check_name(&self, name: &WindowName) -> anyhow::Result<()> {
        let text = name.as_str();
        if self.name != "rust" {
            return Ok(());
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            bail!("'{text}' cannot be the name of a Rust package: begin it with a letter");
        }
        if TAKEN_IN_RUST.split_whitespace().any(|taken| taken == text) {
            bail!("'{text}' means something else in Rust: use another name, such as {text}-window");
        }
        Ok(())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = LANGUAGES.iter().find(|it| it.name == text);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = LANGUAGES.iter().map(|it| it.name).collect();
            format!("there is: {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_in_the_program_is_of_a_language_and_has_a_sentence() {
        for (file, _) in FILES {
            let parts: Vec<&str> = file.split('/').collect();
            let known = LANGUAGES.iter().any(|it| it.name == parts[1]);
            assert!(known, "{file}: of which language is it?");
            let template = parts[2];
            let of_all = template == COMMON || parts.len() == 3;
            let known = of_all || TEMPLATES.iter().any(|(name, _)| *name == template);
            assert!(known, "{file}: add '{template}' to TEMPLATES");
        }
        let rust = LANGUAGES[0].templates();
        assert_eq!(rust, TEMPLATES.map(|(name, _)| name));
    }
}
