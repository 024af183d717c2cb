//! A document: a YAML text becomes something checked, or the [`Fault`]s that say where and why: all
//! of them, not only the first.
//!
//! `tree` reads the text -> `node` walks it by tables of fields, with `suggest` for what is
//! mistyped -> [`read_document`] puts the faults in their places. `schema` makes a JSON Schema of
//! the same tables.

mod line;
mod node;
mod schema;
mod suggest;
mod tree;

pub use hms_api::Fault;
pub use line::line_of;
pub use node::{Field, Kind, Map, Node, unknown};
pub use schema::object;
pub use tree::Tree;

use hms_core::printable::printable;
use node::Faults;

/// An editor that has just begun to write leaves such a file for a moment.
const EMPTY: &str = "the file is empty";

/// Reads a YAML text, of which JSON is a part, by `read`, which notes the faults that it finds in
/// the nodes. `one` is what a file is, as in "one file is one route". A byte order mark in front,
/// which editors on Windows leave, is passed over.
///
/// # Errors
///
/// Every fault, in the order of the text; at least one.
pub fn read_document<T>(
    text: &str,
    one: &str,
    read: impl FnOnce(&Node<'_>) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(vec![Fault::whole(EMPTY)]);
    }
    let tree: Tree = serde_yaml::from_str(text).map_err(|error| vec![broken(error, one)])?;
    if tree == Tree::Nothing {
        return Err(vec![Fault::whole(EMPTY)]);
    }
    let found = Faults::default();
    let document = read(&Node::root(&tree, &found));
    let found = found.into_inner();
    match document {
        Some(document) if found.is_empty() => Ok(document),
        _ => Err(faults(text, found)),
    }
}

/// A text that is no YAML.
fn broken(error: serde_yaml::Error, one: &str) -> Fault {
    let (line, column) = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    let text = error.to_string();
    // serde_yaml repeats the place at the end of its sentence.
    let reason = match text.rsplit_once(" at line ") {
        Some((reason, place)) if place.starts_with(|c: char| c.is_ascii_digit()) => {
            reason.to_string()
        }
        _ if text.contains("more than one document") => {
            format!("the file holds more than one YAML document ('---'): one file is one {one}")
        }
        _ => text,
    };
    Fault {
        line,
        column,
        reason: printable(&reason).into_owned(),
    }
}

fn faults(text: &str, found: Vec<(Vec<tree::Step>, String)>) -> Vec<Fault> {
    let mut faults: Vec<Fault> = found
        .into_iter()
        .map(|(steps, reason)| {
            let (line, column) = tree::locate(text, &steps);
            // It may repeat anything that the text has.
            let reason = printable(&reason).into_owned();
            Fault {
                line,
                column,
                reason,
            }
        })
        .collect();
    faults.sort_by_key(|fault| (fault.line, fault.column));
    if faults.is_empty() {
        faults.push(Fault::whole("the manifest cannot be read"));
    }
    faults
}

#[cfg(test)]
mod tests;
