//! What a kind of manifests says of itself.

use super::Fault;
use std::fmt::Display;
use std::hash::Hash;

/// What one file of a folder says, checked.
pub trait Manifest: PartialEq + Send + Sync + Sized + 'static {
    /// How messages and logs call this kind.
    const WORDS: Words;

    /// Whether the folder may be missing, and is then made by the first edit. Else a missing folder
    /// is a fault, because it may be a volume that is not mounted yet.
    const FOLDER_IS_OPTIONAL: bool = false;

    /// What no two files of the folder may both have; `Infallible` where they claim nothing.
    type Claim: Clone + Eq + Hash + Display;

    /// Reads the `text` of the file that is called `name`, without its extension.
    ///
    /// # Errors
    ///
    /// Every fault, in the order of the text; at least one.
    fn parse(name: &str, text: &str) -> Result<Self, Vec<Fault>>;

    /// The text that it was read from.
    fn text(&self) -> &str;

    /// What it claims for itself alone.
    fn claims(&self) -> Vec<Self::Claim> {
        Vec::new()
    }

    /// The line of `text` that its claims are in, from 1.
    fn line_of_claims(_text: &str) -> usize {
        1
    }

    /// Says in the log that the manifest in `file` is live.
    fn log_live(&self, file: &str) {
        tracing::info!(file, "{} live", Self::WORDS.one);
    }
}

/// How messages and logs call a kind of manifests.
#[derive(Debug)]
pub struct Words {
    /// One of what the files make: `route`.
    pub one: &'static str,
    /// Several of them: `routes`. Under this name the last good texts are kept on the disk.
    pub many: &'static str,
    /// Where the files are: `routes folder`.
    pub folder: &'static str,
    /// What the admin API lists them by: `GET /routes`.
    pub request: &'static str,
    /// The command that shows them: `hms routes`.
    pub command: &'static str,
}
