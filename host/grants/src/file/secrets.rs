//! `secrets`: where the values of secrets come from.

use super::{MAX_ENTRIES, named};
use crate::{NamedFile, SecretSource};
use hms_manifest::{Field, Kind, Node, Tree, object};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const SECRET: &[Field] = &[
    Field {
        name: "file",
        kind: Kind::Text("secrets/card-key"),
        doc: "A file of mode 0400 or 0600, relative to the folder of the grants. A line feed at its end is not part of the value.",
    },
    Field {
        name: "credential",
        kind: Kind::Text("card-key"),
        doc: "A file of this name in $CREDENTIALS_DIRECTORY, where systemd puts credentials.",
    },
];

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": object(SECRET, &[]),
        "maxProperties": MAX_ENTRIES,
    })
}

/// The secrets, and the line of each in `text`. Their files are added to `files`.
pub(super) fn read(
    text: &str,
    node: &Node<'_>,
    files: &mut Vec<NamedFile>,
) -> (BTreeMap<String, SecretSource>, BTreeMap<String, usize>) {
    let (mut secrets, mut lines) = (BTreeMap::new(), BTreeMap::new());
    let expected = "secrets, as in 'secrets: {card-key: {file: secrets/card-key}}'";
    let entries = node.entries(expected).unwrap_or_default();
    if entries.len() > MAX_ENTRIES {
        node.fault(format_args!("more than {MAX_ENTRIES} secrets"));
        return (secrets, lines);
    }
    for (index, (name, entry)) in entries.iter().enumerate() {
        if let Err(reason) = check_name(name) {
            node.key_fault(index, reason);
            continue;
        }
        let Some(source) = source(text, entry, files) else {
            continue;
        };
        lines.insert((*name).to_owned(), entry.line(text));
        if secrets.insert((*name).to_owned(), source).is_some() {
            node.key_fault(index, format_args!("the secret '{name}' is duplicated"));
        }
    }
    (secrets, lines)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    fits.then_some(()).ok_or_else(|| {
        format!(
            "'{}' is not the name of a secret: 1 to 64 letters, digits, '-' and '_'",
            name.escape_debug()
        )
    })
}

fn source(text: &str, entry: &Node<'_>, files: &mut Vec<NamedFile>) -> Option<SecretSource> {
    if let Tree::Text(_) | Tree::Number(_) = entry.tree() {
        // Not repeated: it may be the value.
        entry.fault(
            "say where the value is, {file: PATH} or {credential: NAME}: the value itself does \
             not belong in this file",
        );
        return None;
    }
    let map = entry.map(SECRET, "{file: PATH} or {credential: NAME}")?;
    let path = |text: &str| match text {
        "" => Err("the path is empty".to_owned()),
        path if path.contains('\0') => Err("the path has a NUL character".to_owned()),
        path => Ok(PathBuf::from(path)),
    };
    let credential = |name: &str| match name {
        "" | "." | ".." => Err(format!("'{name}' is not the name of a credential")),
        name if name.contains(['/', '\0']) => Err(
            "the name of a credential has no '/': it is a file in $CREDENTIALS_DIRECTORY".into(),
        ),
        name => Ok(name.to_owned()),
    };
    match (map.get("file").is_some(), map.get("credential").is_some()) {
        (true, false) => {
            let path = map.parsed("file", path)?;
            files.extend(map.get("file").map(|node| named(text, node, &path)));
            Some(SecretSource::File(path))
        }
        (false, true) => map
            .parsed("credential", credential)
            .map(SecretSource::Credential),
        _ => {
            entry.fault("a secret has one source: 'file' or 'credential'");
            None
        }
    }
}
