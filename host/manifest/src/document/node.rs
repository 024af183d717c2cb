//! Walks a document's tree: what is there becomes typed, what is wrong becomes a fault, and the
//! walk goes on, so that one look shows every fault of a file.
//!
//! What a mapping may hold is said by a table of [`Field`]s. The same tables make the JSON Schema
//! ([`super::schema`]).

use super::suggest::nearest;
use super::tree::{Step, Tree};
use hms_core::units::{Lifetime, Size, Time};
use std::cell::RefCell;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Faults of one file; more would not be read.
const MAX_FAULTS: usize = 50;

/// One field of a mapping.
#[derive(Debug)]
pub struct Field {
    /// The key in the mapping.
    pub name: &'static str,
    /// The values that it allows.
    pub kind: Kind,
    /// One sentence for the schema, with the default.
    pub doc: &'static str,
}

/// What a field takes.
#[derive(Debug)]
pub enum Kind {
    /// A whole number within bounds.
    Number(RangeInclusive<u64>),
    /// `true` or `false`.
    Flag,
    /// A text; what it is an example of.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts, not empty, and how many at most; an example.
    Texts(usize, &'static str),
    /// Names to texts.
    TextMap(&'static str),
    /// A time such as `500ms` or `30s`, within bounds in milliseconds.
    Time(RangeInclusive<u64>),
    /// A long time such as `12h` or `3d`, within bounds in seconds.
    Lifetime(RangeInclusive<u64>),
    /// Whole seconds, as a number or as a time such as `1m`, within bounds in seconds.
    Seconds(RangeInclusive<u64>),
    /// A size such as `1MiB`, within bounds in bytes.
    Size(RangeInclusive<u64>),
    /// A mapping of fields.
    Map(&'static [Field]),
    /// Something that its own code reads; makes a JSON Schema of it.
    Own(fn() -> serde_json::Value),
}

impl Field {
    const fn describe(&self) -> Expected<'_> {
        Expected(self)
    }
}

/// What is expected of a field.
struct Expected<'a>(&'a Field);

impl std::fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0.name;
        match &self.0.kind {
            Kind::Number(bounds) => {
                write!(
                    f,
                    "a whole number from {} to {}",
                    bounds.start(),
                    bounds.end()
                )
            }
            Kind::Flag => f.write_str("true or false"),
            Kind::Text(example) => write!(f, "a text, as in '{name}: {example}'"),
            Kind::Choice(words) => write!(f, "one of: {}", words.join(", ")),
            Kind::Texts(_, example) => write!(f, "a list, as in '{name}: {example}'"),
            Kind::TextMap(example) => write!(f, "names with texts, as in '{name}: {example}'"),
            Kind::Time(bounds) => write!(
                f,
                "a time from {} to {}",
                Time::of_ms(*bounds.start()),
                Time::of_ms(*bounds.end())
            ),
            Kind::Lifetime(bounds) => write!(
                f,
                "a time from {} to {}",
                Lifetime::of_seconds(*bounds.start()),
                Lifetime::of_seconds(*bounds.end())
            ),
            Kind::Seconds(bounds) => write!(
                f,
                "a number of seconds from {} to {}, or a time such as 1m",
                bounds.start(),
                bounds.end()
            ),
            Kind::Size(bounds) => write!(
                f,
                "a size from {} to {}",
                Size::of(*bounds.start()),
                Size::of(*bounds.end())
            ),
            Kind::Map(fields) => {
                write!(f, "settings: {}", names(fields).join(", "))
            }
            Kind::Own(_) => write!(f, "something else"),
        }
    }
}

fn names(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().map(|field| field.name).collect()
}

/// "unknown field 'X', did you mean 'Y'?", or the names there are.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown {what} '{name}', did you mean '{near}'?"),
        None => format!("unknown {what} '{name}'; there are: {}", known.join(", ")),
    }
}

/// The faults found so far, each with its place.
#[derive(Default)]
pub struct Faults(RefCell<Vec<(Vec<Step>, String)>>);

impl Faults {
    pub fn into_inner(self) -> Vec<(Vec<Step>, String)> {
        self.0.into_inner()
    }

    fn add(&self, steps: Vec<Step>, reason: String) {
        let mut found = self.0.borrow_mut();
        if found.len() < MAX_FAULTS {
            found.push((steps, reason));
        }
    }
}

/// A node in its place.
#[derive(Clone)]
pub struct Node<'a> {
    tree: &'a Tree,
    steps: Vec<Step>,
    /// As people write it: `plugins[0].auth.scopes`.
    path: String,
    found: &'a Faults,
}

impl<'a> Node<'a> {
    /// The root of a document. Faults are added to `found`.
    pub fn root(tree: &'a Tree, found: &'a Faults) -> Self {
        Node {
            tree,
            steps: Vec::new(),
            path: String::new(),
            found,
        }
    }

    /// The value at this place.
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// The node's line in `text`, the text of the document, from 1.
    pub fn line(&self, text: &str) -> usize {
        self.place(text).0
    }

    /// The node's line and column in `text`, the text of the document, both from 1.
    pub fn place(&self, text: &str) -> (usize, usize) {
        super::tree::locate(text, &self.steps)
    }

    /// Notes what is wrong with this node.
    pub fn fault(&self, reason: impl std::fmt::Display) {
        self.note(self.steps.clone(), reason);
    }

    fn note(&self, steps: Vec<Step>, reason: impl std::fmt::Display) {
        let reason = match self.path.as_str() {
            "" => reason.to_string(),
            path => format!("{path}: {reason}"),
        };
        self.found.add(steps, reason);
    }

    fn wrong(&self, expected: impl std::fmt::Display) {
        self.fault(format_args!("{} is not {expected}", self.tree.describe()));
    }

    fn inner(&self, tree: &'a Tree, index: usize, path: String) -> Node<'a> {
        let mut steps = self.steps.clone();
        steps.push(Step::Into(index));
        Node {
            tree,
            steps,
            path,
            found: self.found,
        }
    }

    /// The nodes of a list; else says what was expected.
    pub fn list(&self, expected: &str) -> Option<Vec<Node<'a>>> {
        let Tree::List(items) = self.tree else {
            self.wrong(expected);
            return None;
        };
        let node = |(index, item)| self.inner(item, index, format!("{}[{index}]", self.path));
        Some(items.iter().enumerate().map(node).collect())
    }

    /// The entries of a mapping; else says what was expected.
    pub fn entries(&self, expected: &str) -> Option<Vec<(&'a str, Node<'a>)>> {
        let Tree::Map(entries) = self.tree else {
            self.wrong(expected);
            return None;
        };
        let node = |(index, (key, tree)): (usize, &'a (String, Tree))| {
            let mut path = self.path.clone();
            if !path.is_empty() {
                path.push('.');
            }
            // Writing to a String cannot fail.
            let _ = write!(path, "{key}");
            (key.as_str(), self.inner(tree, index, path))
        };
        Some(entries.iter().enumerate().map(node).collect())
    }

    /// Notes what is wrong with the key of the nth entry.
    pub fn key_fault(&self, index: usize, reason: impl std::fmt::Display) {
        let mut steps = self.steps.clone();
        steps.push(Step::Key(index));
        self.note(steps, reason);
    }

    /// A mapping of `fields`. Unknown and repeated ones are noted. An empty node has none of them.
    pub fn map(&self, fields: &'static [Field], expected: &str) -> Option<Map<'a>> {
        let mut map = Map {
            node: self.clone(),
            fields,
            values: Vec::new(),
            meant: Vec::new(),
        };
        if *self.tree == Tree::Nothing {
            return Some(map);
        }
        for (index, (key, value)) in self.entries(expected)?.into_iter().enumerate() {
            let Some(field) = fields.iter().find(|field| field.name == key) else {
                let known = names(fields);
                map.meant.extend(nearest(key, &known));
                self.key_fault(index, unknown("field", key, &known));
                continue;
            };
            if map.values.iter().any(|(field, _)| field.name == key) {
                self.key_fault(index, format_args!("the field '{key}' is duplicated"));
                continue;
            }
            map.values.push((field, value));
        }
        Some(map)
    }

    /// The mapping of something that is named without any settings.
    pub fn no_fields(&self, fields: &'static [Field]) -> Map<'a> {
        Map {
            node: self.clone(),
            fields,
            values: Vec::new(),
            meant: Vec::new(),
        }
    }

    /// A text; anything else is a fault that says what was `expected`.
    pub fn text(&self, expected: impl std::fmt::Display) -> Option<&'a str> {
        match self.tree {
            Tree::Text(text) => Some(text),
            _ => {
                self.wrong(expected);
                None
            }
        }
    }
}

/// The fields of one mapping. Each getter gives nothing where the field is not there or is wrong;
/// what is wrong is noted.
pub struct Map<'a> {
    node: Node<'a>,
    fields: &'static [Field],
    values: Vec<(&'static Field, Node<'a>)>,
    /// Fields that mistyped ones were probably meant for.
    meant: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// The mapping itself.
    pub fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// The field as it is.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        debug_assert!(self.fields.iter().any(|field| field.name == name), "{name}");
        let found = self.values.iter().find(|(field, _)| field.name == name);
        found.map(|(_, node)| node)
    }

    fn field(&self, name: &str) -> Option<(&'static Field, &Node<'a>)> {
        debug_assert!(self.fields.iter().any(|field| field.name == name), "{name}");
        let found = self.values.iter().find(|(field, _)| field.name == name);
        found.map(|(field, node)| (*field, node))
    }

    /// Notes where the field is not there, unless a mistyped one that has been noted was meant for
    /// it.
    pub fn require(&self, name: &str) -> Option<&Node<'a>> {
        let found = self.get(name);
        if found.is_none() && !self.meant.contains(&name) {
            self.node
                .fault(format_args!("the field '{name}' is missing"));
        }
        found
    }

    /// A whole number within the bounds of its [`Kind`].
    pub fn number(&self, name: &str) -> Option<u64> {
        let (field, node) = self.field(name)?;
        match (node.tree, &field.kind) {
            (Tree::Number(number), Kind::Number(bounds)) if bounds.contains(number) => {
                Some(*number)
            }
            _ => {
                node.wrong(field.describe());
                None
            }
        }
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let (field, node) = self.field(name)?;
        match node.tree {
            Tree::Flag(flag) => Some(*flag),
            _ => {
                node.wrong(field.describe());
                None
            }
        }
    }

    /// A word of its [`Kind::Choice`].
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        let (field, node) = self.field(name)?;
        let found = match (node.tree, &field.kind) {
            (Tree::Text(text), Kind::Choice(words)) => words.iter().find(|word| *word == text),
            _ => None,
        };
        if found.is_none() {
            node.wrong(field.describe());
        }
        found.copied()
    }

    /// A text that `parse` accepts; its error is the fault.
    pub fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (field, node) = self.field(name)?;
        let text = node.text(field.describe())?;
        parse(text).map_err(|reason| node.fault(reason)).ok()
    }

    /// The texts of a list, each parsed. Nothing where one of them is wrong.
    pub fn each<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let (field, node) = self.field(name)?;
        let items = node.list(&field.describe().to_string())?;
        if items.is_empty() {
            node.fault(format_args!(
                "the list is empty: leave '{name}' out, or name something"
            ));
            return None;
        }
        if let Kind::Texts(at_most, _) = field.kind
            && items.len() > at_most
        {
            node.fault(format_args!("more than {at_most}"));
            return None;
        }
        let read = items.iter().map(|item| {
            let text = item.text("a text")?;
            parse(text).map_err(|reason| item.fault(reason)).ok()
        });
        // Not stopped at the first that is wrong.
        let read: Vec<Option<T>> = read.collect();
        read.into_iter().collect()
    }

    /// The texts of a mapping, each parsed with its name.
    pub fn pairs<T>(
        &self,
        name: &str,
        parse: impl Fn(&str, &str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let (field, node) = self.field(name)?;
        let entries = node.entries(&field.describe().to_string())?;
        let read = entries.iter().map(|(key, value)| {
            let text = value.text("a text")?;
            parse(key, text).map_err(|reason| value.fault(reason)).ok()
        });
        let read: Vec<Option<T>> = read.collect();
        read.into_iter().collect()
    }

    /// A time, such as `5s`, within the bounds of its [`Kind`].
    pub fn time(&self, name: &str) -> Option<Duration> {
        let (field, node) = self.field(name)?;
        let time = node.text(field.describe())?.parse().map(Time::ms);
        within(field, node, time).map(Duration::from_millis)
    }

    /// A long time, such as `3d`, within the bounds of its [`Kind`].
    pub fn lifetime(&self, name: &str) -> Option<Duration> {
        let (field, node) = self.field(name)?;
        let time = node.text(field.describe())?.parse::<Lifetime>().ok();
        let time = time.map(Lifetime::duration);
        match (time, &field.kind) {
            (Some(time), Kind::Lifetime(bounds)) if bounds.contains(&time.as_secs()) => Some(time),
            _ => {
                node.wrong(field.describe());
                None
            }
        }
    }

    /// Whole seconds.
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        let (field, node) = self.field(name)?;
        let seconds = match node.tree {
            Tree::Number(seconds) => Some(*seconds),
            Tree::Text(text) => text.parse().ok().and_then(Time::whole_seconds),
            _ => None,
        };
        match (seconds, &field.kind) {
            (Some(seconds), Kind::Seconds(bounds)) if bounds.contains(&seconds) => {
                Some(Duration::from_secs(seconds))
            }
            _ => {
                node.wrong(field.describe());
                None
            }
        }
    }

    /// A size, such as `1MiB` or a number of bytes, within the bounds of its [`Kind`].
    pub fn size(&self, name: &str) -> Option<u64> {
        let (field, node) = self.field(name)?;
        let size = match node.tree {
            Tree::Number(bytes) => Ok(*bytes),
            _ => node.text(field.describe())?.parse().map(Size::bytes),
        };
        within(field, node, size)
    }

    /// A mapping within.
    pub fn map(&self, name: &str) -> Option<Map<'a>> {
        let (field, node) = self.field(name)?;
        let Kind::Map(fields) = field.kind else {
            return None;
        };
        node.map(fields, &field.describe().to_string())
    }
}

/// What was read of a field that is a time or a size, where it is within its bounds.
fn within(field: &Field, node: &Node<'_>, read: Result<u64, String>) -> Option<u64> {
    match (read, &field.kind) {
        (Ok(amount), Kind::Time(bounds) | Kind::Size(bounds)) if bounds.contains(&amount) => {
            return Some(amount);
        }
        (Err(reason), _) => node.fault(reason),
        _ => node.wrong(field.describe()),
    }
    None
}
