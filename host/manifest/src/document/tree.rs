//! A YAML document as a tree, and where in the text each of its nodes is.
//!
//! A document is read in two steps: its text becomes a [`Tree`], then [`super::node`] walks the
//! tree and collects every fault, not only the first. serde_yaml tells a line only with an error;
//! so the line of a node is found by reading the text once more and failing at that node. That is
//! done for faults alone, and a document is short.

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A node. The keys of a mapping are texts, and may be there twice: whoever reads it says so.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Null, or an empty document.
    Nothing,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(u64),
    /// A number that is negative, or no whole one.
    OtherNumber(f64),
    /// A string, or a scalar that YAML reads as one.
    Text(String),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping, in the order of the text.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// What it is, for the sentence that says what it should have been.
    pub fn describe(&self) -> String {
        match self {
            Tree::Nothing => "nothing".into(),
            Tree::Flag(flag) => format!("{flag}"),
            Tree::Number(number) => format!("{number}"),
            Tree::OtherNumber(number) => format!("{number}"),
            Tree::Text(text) => format!("the text '{}'", shortened(text)),
            Tree::List(_) => "a list".into(),
            Tree::Map(_) => "a mapping".into(),
        }
    }
}

/// Characters of a text in a message.
const SHOWN: usize = 60;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_string(),
    }
}

/// One step into a tree, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Into the nth of a list, or the value of the nth entry of a mapping.
    Into(usize),
    /// To the key of the nth entry of a mapping. The last step.
    Key(usize),
}

/// The line and column, from 1, of the node that `steps` lead to; those of the nearest node around
/// it that can be told.
pub(super) fn locate(text: &str, steps: &[Step]) -> (usize, usize) {
    (0..=steps.len())
        .rev()
        .find_map(|length| {
            let steps = steps.get(..length)?;
            let failed = Probe(steps)
                .deserialize(serde_yaml::Deserializer::from_str(text))
                .err()?;
            let at = failed.location()?;
            Some((at.line(), at.column()))
        })
        .unwrap_or((1, 1))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;
        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("plain YAML without tags")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Nothing)
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Nothing)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
                Ok(Tree::Flag(flag))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
                Ok(Tree::Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(u64::try_from(number).map_or(Tree::OtherNumber(number as f64), Tree::Number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
                Ok(Tree::OtherNumber(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Tree::Map(entries))
            }
        }
        deserializer.deserialize_any(TreeVisitor)
    }
}

/// Fails at the node that the steps lead to.
struct Probe<'a>(&'a [Step]);

impl Probe<'_> {
    fn found<E: de::Error>(&self) -> E {
        E::custom("here")
    }
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing here")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Into(wanted), rest)) = self.0.split_first() else {
            return Err(self.found());
        };
        for _ in 0..*wanted {
            list.next_element::<de::IgnoredAny>()?;
        }
        list.next_element_seed(Probe(rest))?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.0.split_first() else {
            return Err(self.found());
        };
        let (Step::Into(wanted) | Step::Key(wanted)) = step;
        for _ in 0..*wanted {
            map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?;
        }
        if matches!(step, Step::Key(_)) {
            map.next_key_seed(Probe(&[]))?;
            return Ok(());
        }
        map.next_key::<de::IgnoredAny>()?;
        map.next_value_seed(Probe(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Into, Key};

    const TEXT: &str = "a: 1\nb:\n  - x\n  - c: [1, 2]\n    d: {e: f}\na: again\n";

    #[test]
    fn document_becomes_a_tree_with_every_key() {
        let tree: Tree = serde_yaml::from_str(TEXT).unwrap();
        let text = |text: &str| Tree::Text(text.into());
        let inner = Tree::Map(vec![
            (
                "c".into(),
                Tree::List(vec![Tree::Number(1), Tree::Number(2)]),
            ),
            ("d".into(), Tree::Map(vec![("e".into(), text("f"))])),
        ]);
        let expected = Tree::Map(vec![
            ("a".into(), Tree::Number(1)),
            ("b".into(), Tree::List(vec![text("x"), inner])),
            ("a".into(), text("again")),
        ]);
        assert_eq!(tree, expected);
    }

    #[test]
    fn every_node_and_key_is_located_in_the_text() {
        for (steps, place) in [
            (&[][..], (1, 1)),
            (&[Into(0)], (1, 4)),
            (&[Key(1)], (2, 1)),
            (&[Into(1), Into(0)], (3, 5)),
            (&[Into(1), Into(1), Into(0), Into(1)], (4, 12)),
            (&[Into(1), Into(1), Key(1)], (5, 5)),
            (&[Into(1), Into(1), Into(1), Into(0)], (5, 12)),
            (&[Key(2)], (6, 1)),
            (&[Into(2)], (6, 4)),
        ] {
            assert_eq!(locate(TEXT, steps), place, "{steps:?}");
        }
    }
}
