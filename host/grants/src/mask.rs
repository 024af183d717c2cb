//! Keeps the values of secrets out of logs: of those that are revealed to a window, out of its log
//! and out of the causes of its failures; of all of them, out of what is logged of a URI.
//!
//! A value is found as it stands in a line, or escaped as in a printed error, and each line of a
//! value of several lines by itself. In a URI it is also found percent-encoded and in another case.
//! What the guest has encoded otherwise, such as in base64, is not found.

use crate::{Secret, WindowGrants};
use memchr::memmem::Finder;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What stands in a value's place.
const MASK: &str = "***";

/// Bytes of a line of a secret from which on it is looked for by itself. 8: shorter ones, such as
/// the brackets of a JSON file, are in many lines that have nothing of the secret.
const MIN_LINE_BYTES: usize = 8;

/// `text` without the values of the secrets that are revealed. Costs nothing where there are none,
/// and otherwise a search of the line for each.
pub fn masked<'a>(granted: &WindowGrants, text: &'a str) -> Cow<'a, str> {
    if granted.grants.reveal.is_empty() && granted.former.is_empty() {
        return Cow::Borrowed(text);
    }
    let values = values(granted);
    let lines = values.clone().flat_map(lines);
    // What was escaped has a backslash.
    let may_be_escaped = text.contains('\\');
    let forms = |value| {
        let other = match may_be_escaped {
            true => escaped(value),
            false => None,
        };
        [Some(Cow::Borrowed(value)), other]
    };
    let mut found: Vec<Cow<'_, str>> = values
        .chain(lines)
        .flat_map(forms)
        .flatten()
        .filter(|value| text.contains(&**value))
        .collect();
    // A secret may have another within it.
    found.sort_by_key(|value| std::cmp::Reverse(value.len()));
    found.into_iter().fold(Cow::Borrowed(text), |text, value| {
        Cow::Owned(text.replace(&*value, MASK))
    })
}

/// A value as it stands in an error that is printed with `{:?}`, where that is another text.
fn escaped(value: &str) -> Option<Cow<'_, str>> {
    let quoted = format!("{value:?}");
    let inner = quoted.get(1..quoted.len().saturating_sub(1))?;
    (inner != value).then(|| Cow::Owned(inner.to_owned()))
}

/// The same of a text that went on before it was cut. Where it ends a secret may have begun, so as
/// much is left out as the longest of them has.
pub fn masked_beginning<'a>(granted: &WindowGrants, text: &'a str) -> Cow<'a, str> {
    let masked = masked(granted, text);
    let longest = values(granted)
        .map(|value| escaped(value).map_or(value.len(), |escaped| escaped.len()))
        .max()
        .unwrap_or(0);
    if longest == 0 {
        return masked;
    }
    let end = masked.floor_char_boundary(masked.len().saturating_sub(longest));
    Cow::Owned(masked.get(..end).unwrap_or_default().to_owned())
}

/// A URI, or a part of one, without the values of any secret of the window, revealed or not. Costs
/// nothing where there are no secrets, and otherwise a search for each.
pub fn masked_uri<'a>(granted: &WindowGrants, text: &'a str) -> Cow<'a, str> {
    if granted.secrets.is_empty() && granted.former.is_empty() {
        return Cow::Borrowed(text);
    }
    let decoded = decoded(text);
    let bytes = decoded.iter().map(|(_, byte)| byte.to_ascii_lowercase());
    let bytes: Vec<u8> = bytes.collect();
    let values = granted.secrets.values().chain(&granted.former);
    let values = values.filter_map(value);
    let lines = values.clone().flat_map(lines);
    let mut found: Vec<(usize, usize)> = Vec::new();
    for value in values
        .chain(lines)
        .filter(|value| value.len() <= bytes.len())
    {
        let wanted = Zeroizing::new(value.to_ascii_lowercase());
        let finder = Finder::new(wanted.as_bytes());
        let mut from = 0;
        // One may begin within another.
        while let Some(at) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
            found.push((from + at, from + at + value.len()));
            from += at + 1;
        }
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable();
    let start = |at: usize| decoded.get(at).map_or(text.len(), |(start, _)| *start);
    let (mut shown, mut done) = (String::new(), 0);
    for (from, to) in found {
        // One that begins within the one before only makes that longer.
        if from >= done {
            shown.push_str(text.get(start(done)..start(from)).unwrap_or_default());
            shown.push_str(MASK);
        }
        done = done.max(to);
    }
    shown.push_str(text.get(start(done)..).unwrap_or_default());
    Cow::Owned(shown)
}

/// The bytes that percent-encoded `text` stands for, each with where it begins there.
fn decoded(text: &str) -> Vec<(usize, u8)> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let encoded = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push((at, encoded.unwrap_or(byte)));
        at += if encoded.is_some() { 3 } else { 1 };
    }
    decoded
}

/// The values that are revealed, or were.
fn values(granted: &WindowGrants) -> impl Iterator<Item = &str> + Clone {
    let secrets = granted.all_revealed().chain(&granted.former);
    secrets.filter_map(value)
}

/// A value that is text, without the white space around that a file adds.
fn value(secret: &Secret) -> Option<&str> {
    let text = std::str::from_utf8(secret.expose()).ok();
    text.map(str::trim).filter(|value| !value.is_empty())
}

/// The lines of a value that has several.
fn lines(value: &str) -> impl Iterator<Item = &str> {
    let several = value.contains('\n');
    let lines = value.lines().map(str::trim);
    lines.filter(move |line| several && line.len() >= MIN_LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grants;

    fn granted(revealed: &[&str], hidden: &[&str]) -> WindowGrants {
        let named = |kind: &'static str, values: &[&str]| -> Vec<(String, Secret)> {
            let values = values.iter().enumerate();
            values
                .map(|(n, value)| (format!("{kind}{n}"), Secret::new(value.as_bytes().to_vec())))
                .collect()
        };
        let revealed = named("revealed", revealed);
        let hidden = named("hidden", hidden);
        WindowGrants {
            grants: Grants {
                reveal: revealed.iter().map(|(name, _)| name.clone()).collect(),
                ..Grants::default()
            },
            secrets: revealed.into_iter().chain(hidden).collect(),
            ..WindowGrants::default()
        }
    }

    #[test]
    fn revealed_value_is_masked_wherever_it_stands() {
        let granted = granted(&["sk_live_42\n", "", "sk_live_42_and_more"], &["hidden"]);
        let masked = |text| masked(&granted, text).into_owned();
        assert_eq!(
            masked("key=sk_live_42, again sk_live_42"),
            "key=***, again ***"
        );
        assert_eq!(masked("sk_live_42_and_more"), "***");
        assert_eq!(
            masked("hidden, which the guest does not know"),
            "hidden, which the guest does not know"
        );
    }

    #[test]
    fn value_is_masked_also_where_an_error_was_printed_with_it() {
        let granted = granted(&["a\"quoted\\key", "one-line\nand-another"], &[]);
        for value in ["a\"quoted\\key", "one-line\nand-another"] {
            let printed = format!("{:?}", Some(format!("no {value} here")));
            let masked = masked(&granted, &printed);
            assert!(masked.contains("no *** here"), "{masked}");
        }
    }

    #[test]
    fn text_that_was_cut_ends_before_a_secret_may_have_begun() {
        let granted = granted(&["sk_live_42"], &[]);
        let text = "a sk_live_42, then sk_live";
        assert_eq!(masked_beginning(&granted, text), "a ***, th");
        assert_eq!(masked_beginning(&granted, "sk_live"), "");
    }

    #[test]
    fn each_line_of_a_key_file_is_masked_by_itself() {
        let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n{}\n-----END KEY-----\n";
        let granted = granted(&[key], &[]);
        assert_eq!(masked(&granted, "1: MIIBVgIBADANBgkq"), "1: ***");
        assert_eq!(masked(&granted, "{}"), "{}");
        assert_eq!(masked(&granted, key), "***\n");
    }

    #[test]
    fn line_of_a_window_without_revealed_secrets_is_not_copied() {
        let granted = granted(&[], &["hidden"]);
        assert!(matches!(
            masked(&granted, "hidden"),
            Cow::Borrowed("hidden")
        ));
        assert!(matches!(
            masked_beginning(&granted, "hidden"),
            Cow::Borrowed("hidden")
        ));
    }

    #[test]
    fn value_that_is_revealed_no_more_is_still_masked() {
        let none = WindowGrants::default;
        let rotated = granted(&["new_42"], &[]).after(&granted(&["old_42"], &["hidden"]));
        assert_eq!(masked(&rotated, "old_42 new_42 hidden"), "*** *** hidden");
        assert_eq!(masked_uri(&rotated, "/OLD%5f42/x"), "/***/x");
        // Revoked, and with other changes after it.
        let mut revoked = none().after(&none().after(&rotated));
        assert_eq!(masked(&revoked, "old_42 new_42"), "*** ***");
        assert_eq!(masked_uri(&revoked, "/new_42"), "/***");
        // The latest are remembered.
        for count in 0..100 {
            revoked = granted(&[format!("value-{count}").as_str()], &[]).after(&revoked);
        }
        let text = "value-99 value-90 value-9 old_42";
        assert_eq!(masked(&revoked, text), "*** *** value-9 old_42");
        assert!(revoked.former.len() <= 16);
    }

    #[test]
    fn value_in_a_uri_is_masked_however_it_is_spelt_revealed_or_not() {
        let granted = granted(&["42:AbC/x"], &["hidden", "denim", "1212"]);
        for (text, expected) in [
            ("/bot42:AbC/x/send", "/bot***/send"),
            ("/bot42%3AAbC%2fx/send", "/bot***/send"),
            ("/%34%32%3a%41bC/x", "/***"),
            ("https://hiDDen.example", "https://***.example"),
            ("/hiddenim/a%20b", "/***/a%20b"),
            ("/x12121212/", "/x***/"),
            ("/a%2", "/a%2"),
            ("/a%é", "/a%é"),
        ] {
            assert_eq!(masked_uri(&granted, text), expected, "{text}");
        }
        assert!(matches!(masked_uri(&granted, "/a%20b"), Cow::Borrowed(_)));
    }
}
