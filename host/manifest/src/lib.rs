//! The operator's YAML files: reading one, with every fault in its place.

mod document;

pub use document::{Fault, Field, Kind, Map, Node, Tree, line_of, object, read_document, unknown};
