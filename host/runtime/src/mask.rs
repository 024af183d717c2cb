//! Keeps the values of secrets that are revealed to a window out of its log.
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

/// Bytes of the longest of them: of so much at the end of a line that was cut, a secret may have
/// begun.
pub(super) fn longest(granted: &WindowGrants) -> usize {
    values(granted).map(str::len).max().unwrap_or(0)
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
        assert_eq!(longest(&granted), "sk_live_42_and_more".len());
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
        assert_eq!(longest(&granted), 0);
    }
}
