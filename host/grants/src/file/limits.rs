//! `limits`: the limits of a window by the names of `hms limits`.

use super::MAX_ENTRIES;
use hms_core::limits::{Limit, LimitsChange, LimitsSet, Row, TABLE, Unit};
use hms_core::units::{Size, Time};
use hms_manifest::{Node, Tree, unknown};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn schema() -> Value {
    let properties: Map<String, Value> = TABLE
        .iter()
        .map(|row| {
            let schema = match row.unit {
                Unit::Bytes => json!({ "type": ["string", "integer"], "pattern": Size::PATTERN }),
                Unit::Milliseconds => json!({ "type": "string", "pattern": Time::PATTERN }),
                Unit::Count => {
                    json!({ "type": "integer", "minimum": row.least, "maximum": row.most })
                }
            };
            (row.flag.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The limits, and the line of each in `text`.
pub(super) fn read(text: &str, node: &Node<'_>) -> (LimitsSet, BTreeMap<Limit, usize>) {
    let expected = "limits, as in 'limits: {memory: 64MiB}'";
    let Some(entries) = node.entries(expected) else {
        return Default::default();
    };
    let known: Vec<&str> = TABLE.iter().map(|row| row.flag).collect();
    let (mut set, mut lines) = (BTreeMap::new(), BTreeMap::new());
    for (index, (name, value)) in entries.iter().enumerate().take(MAX_ENTRIES) {
        let Some(row) = TABLE.iter().find(|row| row.flag == *name) else {
            node.key_fault(index, unknown("limit", name, &known));
            continue;
        };
        match amount(row, value) {
            Ok(amount) if set.insert(row.limit, Some(amount)).is_some() => {
                node.key_fault(index, format_args!("the limit '{name}' is duplicated"));
            }
            Ok(_) => drop(lines.insert(row.limit, value.line(text))),
            Err(reason) => value.fault(reason),
        }
    }
    match LimitsSet::default().with(&LimitsChange(set)) {
        Ok(set) => (set, lines),
        Err(reason) => {
            node.fault(reason);
            Default::default()
        }
    }
}

/// The value in the row's unit, within its bounds.
fn amount(row: &Row, value: &Node<'_>) -> Result<u64, String> {
    let amount = match (row.unit, value.tree()) {
        (Unit::Bytes | Unit::Count, Tree::Number(number)) => *number,
        (Unit::Bytes, Tree::Text(text)) => text.parse().map(Size::bytes)?,
        (Unit::Milliseconds, Tree::Text(text)) => text.parse().map(Time::ms)?,
        (unit, other) => {
            let expected = match unit {
                Unit::Bytes => "a size such as 64MiB",
                Unit::Milliseconds => "a time such as 500ms or 30s",
                Unit::Count => "a whole number",
            };
            return Err(format!("{} is not {expected}", other.describe()));
        }
    };
    if (row.least..=row.most).contains(&amount) {
        return Ok(amount);
    }
    Err(format!(
        "{} is not from {} to {}",
        row.shown(amount),
        row.shown(row.least),
        row.shown(row.most)
    ))
}
