//! Mappings of names that the operator gives: of subscriptions and of schedules.

use hms_manifest::Node;
use serde_json::{Value, json};

/// Bytes of a name, as of a window's.
const MAX_NAME: usize = 63;

pub(super) fn schema() -> Value {
    json!({ "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": MAX_NAME })
}

/// Reads each of the entries, at most `most`, whose names are checked. `what` is one of them.
pub(super) fn each_by_name<T>(
    node: &Node<'_>,
    what: &str,
    most: usize,
    example: &str,
    read: impl Fn(&str, &Node<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(entries) = node.entries(example) else {
        return Vec::new();
    };
    if entries.len() > most {
        node.fault(format_args!("more than {most} {what}s"));
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, (name, value)) in entries.iter().enumerate() {
        if let Err(reason) = check(name) {
            node.key_fault(index, reason);
        }
        if entries.iter().take(index).any(|(other, _)| other == name) {
            node.key_fault(index, format_args!("the {what} '{name}' is duplicated"));
        }
        all.extend(read(name, value));
    }
    all
}

fn check(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
    match fits && !name.starts_with('-') && !name.ends_with('-') {
        true => Ok(()),
        false => Err(format!(
            "'{}' is not a name: use 1 to {MAX_NAME} lower-case letters, digits and inner hyphens",
            name.escape_debug()
        )),
    }
}
