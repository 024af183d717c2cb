//! Strings from outside, made harmless where they reach a terminal, a line of the log or a label of
//! a metric: names of files, words of guests, what errors quote of an input, what another host
//! answers.
//!
//! Such a string could end a line and begin a forged one, give a terminal orders, or turn around
//! how a line is read. What shows itself stays as it is, in every script. Nothing here is meant to
//! be read back: a backslash stays one.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// Whether a character does something other than to show itself: it is a control character (C0,
/// DEL, C1), ends a line or a paragraph, changes the direction of text (the controls of UAX #9), or
/// is invisible. Tabs are harmless, and so are the joiners that some scripts cannot do without.
pub fn is_harmful(c: char) -> bool {
    match c {
        '\t' | ' '..='~' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// The text with every harmful character escaped as in Rust: `\n`, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(is_harmful) {
        true => Cow::Owned(Printable(text).to_string()),
        false => Cow::Borrowed(text),
    }
}

/// The same for a text of several lines, whose ends stay. Every line but the first is indented, so
/// that none looks like one of the host's own.
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.trim_end().lines().map(printable).collect();
    lines.join("\n  ")
}

/// The same for a JSON text, where escapes are `\u202e`: whoever reads the JSON has the very same
/// value. The ends of lines between values stay; within values there are none.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let harmful = |c: char| c > '~' && is_harmful(c);
    if !json.contains(harmful) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match harmful(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Shows what it holds, escaped as by [`printable`].
pub struct Printable<T>(pub T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// Writes on what is written to it, escaped as by [`printable`]. Allocates nothing.
pub struct Escaping<W>(pub W);

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some(at) = text.find(is_harmful) {
            let (clean, rest) = text.split_at(at);
            self.0.write_str(clean)?;
            let mut rest = rest.chars();
            if let Some(harmful) = rest.next() {
                write!(self.0, "{}", harmful.escape_default())?;
            }
            text = rest.as_str();
        }
        self.0.write_str(text)
    }
}

/// A label of a metric whose value comes from outside. The encoder writes values as they are, and
/// one with a quote in it would make the whole page unreadable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label(pub String);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        for c in printable(&self.0).chars() {
            if matches!(c, '"' | '\\') {
                encoder.write_char('\\')?;
            }
            encoder.write_char(c)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Harmful characters, beside any others.
    fn any_text() -> impl Strategy<Value = String> {
        let harmful = "[\\n\\r\\x00-\\x1f\\x7f-\\u{9f}\\u{ad}\\u{61c}\\u{200b}-\\u{200f}\\u{2028}-\\u{202e}\\u{2066}-\\u{2069}\\u{feff}\\u{e0041}]";
        let part = prop_oneof![
            harmful,
            "[a-z\"\\\\ äß字]{0,4}",
            any::<char>().prop_map(String::from)
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn harmful_characters_are_escaped_and_all_others_kept(text in any_text()) {
            let made = printable(&text);
            prop_assert!(!made.contains(is_harmful), "{made:?}");
            prop_assert_eq!(made.lines().count() <= 1, true);
            prop_assert_eq!(&printable(&made), &made);
            prop_assert_eq!(Printable(&text).to_string(), &*made);
            let escaped: String = text
                .chars()
                .map(|c| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() })
                .collect();
            prop_assert_eq!(&*made, escaped);
            // However it comes in pieces.
            let mut pieces = Escaping(String::new());
            text.chars().try_for_each(|c| pieces.write_char(c)).unwrap();
            prop_assert_eq!(&*pieces.0, &*made);
        }

        #[test]
        fn multi_line_text_indents_every_following_line(text in any_text()) {
            let made = printable_lines(&text);
            prop_assert!(made.lines().skip(1).all(|line| line.starts_with("  ")));
            prop_assert!(!made.contains(|c| c != '\n' && is_harmful(c)), "{made:?}");
        }

        #[test]
        fn printable_json_keeps_its_value_without_harmful_characters(text in any_text()) {
            let value = serde_json::json!({ "a": [&text], (text.as_str()): 1 });
            for json in [format!("{value}"), format!("{value:#}")] {
                let made = printable_json(&json);
                prop_assert!(!made.contains(|c| c != '\n' && is_harmful(c)), "{made:?}");
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&made).unwrap(), &value);
            }
        }

        #[test]
        fn label_cannot_break_out_of_its_quotes(text in any_text()) {
            let family = prometheus_client::metrics::family::Family::<Vec<(&str, Label)>, prometheus_client::metrics::counter::Counter>::default();
            family.get_or_create(&vec![("route", Label(text.clone()))]).inc();
            let mut registry = prometheus_client::registry::Registry::default();
            registry.register("a", "b", family);
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            let line = page.lines().find_map(|line| line.strip_prefix("a_total{route=\"")).unwrap();
            let mut value = String::new();
            let mut chars = line.chars();
            loop {
                match chars.next().unwrap() {
                    '"' => break,
                    '\\' => value.push(chars.next().unwrap()),
                    c => value.push(c),
                }
            }
            prop_assert_eq!(chars.as_str(), "} 1");
            prop_assert_eq!(value, printable(&text));
        }
    }

    #[test]
    fn printable_text_is_borrowed_unchanged() {
        for text in [
            "",
            "mein Büro.yaml",
            "字",
            "a\tb",
            r#"{"a": "\n"}"#,
            "👩\u{200d}🚀",
        ] {
            assert!(
                matches!(printable(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
        assert_eq!(printable("a\n\x1b[31m\u{202e}b"), r"a\n\u{1b}[31m\u{202e}b");
    }
}
