//! What is kept.

use hms_window::{Problem, Validators};
use serde::{Deserialize, Serialize};

/// The longest title, in characters.
const MAX_TITLE: usize = 200;

/// A note, as it is stored and shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    pub id: String,
    /// 1, and one more with each change.
    pub version: u64,
    pub title: String,
    pub text: String,
}

/// What a client sends.
#[derive(Debug, Clone, Deserialize)]
pub struct Form {
    title: String,
    #[serde(default)]
    text: String,
}

impl Note {
    pub fn new(id: String, version: u64, form: Form) -> Result<Self, Problem> {
        let Form { title, text } = form;
        if title.trim().is_empty() || title.chars().count() > MAX_TITLE {
            let detail = format!("'title' must have 1 to {MAX_TITLE} characters");
            return Err(Problem::bad_request(detail));
        }
        Ok(Note {
            id,
            version,
            title,
            text,
        })
    }

    /// What tells one version from another.
    pub fn validators(&self) -> Validators {
        Validators::new().strong_tag(self.version.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_must_be_there_and_short() {
        let made = |title: &str| {
            let form = Form {
                title: title.into(),
                text: String::new(),
            };
            Note::new("1".into(), 1, form).is_ok()
        };
        assert!(made("milk") && made(&"x".repeat(MAX_TITLE)));
        assert!(!made("") && !made(" ") && !made(&"x".repeat(MAX_TITLE + 1)));
    }
}
