//! `filters` of a subscription: the dialects of the CloudEvents Subscriptions API 1.0.

use crate::subscription::Filter;
use hms_manifest::{Node, Tree, unknown};
use serde_json::{Value, json};
use std::cell::Cell;

/// Filters of one subscription, those within others included.
const MAX_FILTERS: usize = 256;

/// How deep filters may be within each other.
const MAX_DEPTH: usize = 8;

/// Bytes of an attribute's value in a filter.
const MAX_VALUE_BYTES: usize = 4096;

/// Bytes of the name of an attribute.
const MAX_NAME_BYTES: usize = 64;

const DIALECTS: &[&str] = &["exact", "prefix", "suffix", "all", "any", "not"];

const EXAMPLE: &str = "a filter, as in '{exact: {type: gov.payment.paid.v1}}'";

/// Where the schema of one filter is in the schema of the file.
const REFERENCE: &str = "#/$defs/filter";

pub(super) fn schema() -> Value {
    json!({ "type": "array", "items": { "$ref": REFERENCE }, "minItems": 1, "maxItems": MAX_FILTERS })
}

/// The schema of one filter.
pub(super) fn definition() -> Value {
    let attributes = json!({
        "type": "object",
        "propertyNames": { "pattern": "^[a-z0-9]+$", "maxLength": MAX_NAME_BYTES },
        "additionalProperties": { "type": "string", "minLength": 1 },
        "minProperties": 1,
    });
    json!({
        "type": "object",
        "properties": {
            "exact": attributes, "prefix": attributes, "suffix": attributes,
            "all": schema(), "any": schema(), "not": { "$ref": REFERENCE },
        },
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    })
}

pub(super) fn read(node: &Node<'_>) -> Vec<Filter> {
    let left = Cell::new(MAX_FILTERS);
    list(node, MAX_DEPTH, &left).unwrap_or_default()
}

/// `left` is how many filters there may still be.
fn list(node: &Node<'_>, depth: usize, left: &Cell<usize>) -> Option<Vec<Filter>> {
    let items = node.list("a list, as in '[{exact: {type: gov.payment.paid.v1}}]'")?;
    if items.is_empty() {
        node.fault("the list is empty: leave it out, or name a filter");
    }
    let mut filters = Vec::new();
    for item in items {
        // Each fault would be the same.
        if left.get() == 0 {
            node.fault(format_args!(
                "more than {MAX_FILTERS} filters in one subscription"
            ));
            break;
        }
        filters.extend(filter(&item, depth, left));
    }
    Some(filters)
}

fn filter(node: &Node<'_>, depth: usize, left: &Cell<usize>) -> Option<Filter> {
    left.set(left.get().saturating_sub(1));
    if depth == 0 {
        node.fault(format_args!(
            "filters are nested more than {MAX_DEPTH} deep"
        ));
        return None;
    }
    let entries = node.entries(EXAMPLE)?;
    let [(dialect, value)] = &entries[..] else {
        node.fault(format_args!(
            "a filter has exactly one of {}: put several into a list",
            DIALECTS.join(", ")
        ));
        return None;
    };
    match *dialect {
        "exact" => attributes(value).map(Filter::Exact),
        "prefix" => attributes(value).map(Filter::Prefix),
        "suffix" => attributes(value).map(Filter::Suffix),
        "all" => list(value, depth - 1, left).map(Filter::All),
        "any" => list(value, depth - 1, left).map(Filter::Any),
        "not" => filter(value, depth - 1, left).map(|filter| Filter::Not(Box::new(filter))),
        "sql" => {
            node.key_fault(
                0,
                "the dialect 'sql' is not supported: use exact, prefix, suffix, all, any and not",
            );
            None
        }
        other => {
            node.key_fault(0, unknown("dialect", other, DIALECTS));
            None
        }
    }
}

fn attributes(node: &Node<'_>) -> Option<Vec<(String, String)>> {
    let entries = node.entries("attributes, as in '{type: gov.payment.paid.v1}'")?;
    if entries.is_empty() {
        node.fault("the filter names no attribute: without any it would match every event");
    }
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (index, (name, value)) in entries.iter().enumerate() {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !plain || !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            node.key_fault(index, format_args!(
                "'{}' is not the name of an attribute: 1 to {MAX_NAME_BYTES} lower-case letters and digits, such as type, subject or partitionkey",
                name.escape_debug()
            ));
        }
        if attributes.iter().any(|(other, _)| other == name) {
            node.key_fault(index, format_args!("the attribute '{name}' is duplicated"));
        }
        match value.tree() {
            Tree::Text(text) if (1..=MAX_VALUE_BYTES).contains(&text.len()) => {
                attributes.push(((*name).to_owned(), text.clone()));
            }
            Tree::Text(_) => value.fault(format_args!("a value has 1 to {MAX_VALUE_BYTES} bytes")),
            other => value.fault(format_args!(
                "{} is not a text: values of attributes are texts, so write it in quotes",
                other.describe()
            )),
        }
    }
    Some(attributes)
}
