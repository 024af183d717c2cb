//! Two kinds of words: those that a client may read, and those that only the log may.

use std::fmt::{self, Display};

/// Bytes of a cause. 1 KiB: a sentence with what it is about.
const CAUSE_BYTES: usize = 1 << 10;

/// Why something failed, in words that may have anything in them: a guest's, a service's, the
/// system's. It has no [`Display`], so that it cannot get into what a client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// What `words` say, cut after 1 KiB.
    pub fn of(words: impl Display) -> Self {
        let mut text = words.to_string();
        if text.len() > CAUSE_BYTES {
            text.truncate(text.floor_char_boundary(CAUSE_BYTES));
            text.push('…');
        }
        Cause(text)
    }

    /// For the log and for operators.
    pub(super) fn private(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        Cause::of(words)
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Cause::of(words)
    }
}

/// Parts of which a sentence for the public may be put together.
const PARTS: usize = 4;

/// A sentence for the public. It is made of this program's own words alone: there is no way to put
/// others into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain([&'static str; PARTS]);

impl From<&'static str> for Plain {
    fn from(sentence: &'static str) -> Self {
        Plain([sentence, "", "", ""])
    }
}

impl From<[&'static str; PARTS]> for Plain {
    fn from(parts: [&'static str; PARTS]) -> Self {
        Plain(parts)
    }
}

impl Display for Plain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| out.write_str(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cause_is_cut_at_a_character_boundary() {
        assert_eq!(Cause::of("short").private(), "short");
        let cut = Cause::of("é".repeat(CAUSE_BYTES));
        assert_eq!(cut.private(), format!("{}…", "é".repeat(CAUSE_BYTES / 2)));
    }

    #[test]
    fn plain_sentence_displays_its_parts() {
        let parts = Plain::from(["the field ", "host", " must be there", " once"]);
        assert_eq!(parts.to_string(), "the field host must be there once");
        assert_eq!(Plain::from("one").to_string(), "one");
    }
}
