//! Keeps the values of secrets that are revealed to a window out of its log, and out of the causes
//! of its failures.
//!
//! A value is found as it stands in a line, and each line of a value of several lines by itself.
//! What the guest has encoded otherwise, such as in base64, is not found.

use hms_grants::WindowGrants;
use std::borrow::Cow;

/// What stands in a value's place.
const MASK: &str = "***";

/// Bytes of a line of a secret from which on it is looked for by itself. 8: shorter ones, such as
/// the brackets of a JSON file, are in many lines that have nothing of the secret.
const MIN_LINE_BYTES: usize = 8;

/// `text` without the values of the secrets that are revealed. Costs nothing where there are none,
/// and otherwise a search of the line for each.
pub(super) fn masked<'a>(granted: &WindowGrants, text: &'a str) -> Cow<'a, str> {
    if granted.grants.reveal.is_empty() {
        return Cow::Borrowed(text);
    }
    let values = values(granted);
    let lines = values.clone().flat_map(lines);
    let mut found: Vec<&str> = values
        .chain(lines)
        .filter(|value| text.contains(value))
        .collect();
    // A secret may have another within it.
    found.sort_by_key(|value| std::cmp::Reverse(value.len()));
    found.into_iter().fold(Cow::Borrowed(text), |text, value| {
        Cow::Owned(text.replace(value, MASK))
    })
}

/// The same of a text that went on before it was cut. Where it ends a secret may have begun, so as
/// much is left out as the longest of them has.
pub(super) fn masked_beginning<'a>(granted: &WindowGrants, text: &'a str) -> Cow<'a, str> {
    let masked = masked(granted, text);
    let longest = values(granted).map(str::len).max().unwrap_or(0);
    if longest == 0 {
        return masked;
    }
    let end = masked.floor_char_boundary(masked.len().saturating_sub(longest));
    Cow::Owned(masked.get(..end).unwrap_or_default().to_owned())
}

/// The values that are text, without the white space around that a file adds.
fn values(granted: &WindowGrants) -> impl Iterator<Item = &str> + Clone {
    let secrets = granted.grants.reveal.iter();
    let secrets = secrets.filter_map(|name| granted.secrets.get(name));
    secrets
        .filter_map(|secret| std::str::from_utf8(secret.expose()).ok())
        .map(str::trim)
        .filter(|value| !value.is_empty())
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
    use hms_grants::{Grants, Secret};

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
}
