//! Small serde pieces that manifests are read with: they say what was expected, and where serde_yaml can tell the
//! line, they fail inside of the node at fault so that it does.

use super::Fault;
use super::suggest::nearest;
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};
use std::fmt;
use std::ops::RangeInclusive;

/// A YAML error as a fault of the manifest.
pub fn fault(error: serde_yaml::Error) -> Fault {
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
            "the file holds more than one YAML document ('---'): one file is one route".into()
        }
        _ => text,
    };
    Fault {
        line,
        column,
        reason,
    }
}

pub fn missing<E: de::Error>(field: &str) -> E {
    E::custom(format_args!("the field '{field}' is missing"))
}

/// "unknown field 'X', did you mean 'Y'?", or the names there are.
pub fn unknown<E: de::Error>(what: &str, name: &str, known: &[&str]) -> E {
    match nearest(name, known) {
        Some(near) => E::custom(format_args!(
            "unknown {what} '{name}', did you mean '{near}'?"
        )),
        None => E::custom(format_args!(
            "unknown {what} '{name}'; there are: {}",
            known.join(", ")
        )),
    }
}

/// Reads the keys of one mapping: each known, each at most once.
pub struct Keys {
    what: &'static str,
    known: &'static [&'static str],
    seen: Vec<&'static str>,
}

impl Keys {
    /// `what` is the word for a key in messages.
    pub fn new(what: &'static str, known: &'static [&'static str]) -> Self {
        Keys {
            what,
            known,
            seen: Vec::new(),
        }
    }

    /// The known name that `name` is, for the first time.
    pub fn take<E: de::Error>(&mut self, name: &str) -> Result<&'static str, E> {
        let key = *self
            .known
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| unknown(self.what, name, self.known))?;
        if self.seen.contains(&key) {
            return Err(E::custom(format_args!(
                "the {} '{key}' is given twice",
                self.what
            )));
        }
        self.seen.push(key);
        Ok(key)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Keys {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", self.what)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static str, E> {
        self.take(name)
    }
}

/// Reads a text and parses it.
pub fn parsed<T>(field: &'static str, parse: fn(&str) -> Result<T, String>) -> Parsed<T> {
    Parsed { field, parse }
}

pub struct Parsed<T> {
    field: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<'de, T> DeserializeSeed<'de> for Parsed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T> Visitor<'de> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text for '{}'", self.field)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// Reads a whole number within bounds.
pub struct Number {
    pub field: &'static str,
    pub bounds: RangeInclusive<u64>,
}

impl<'de> DeserializeSeed<'de> for Number {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.bounds.start(), self.bounds.end());
        write!(f, "a whole number from {from} to {to} for '{}'", self.field)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        if self.bounds.contains(&number) {
            return Ok(number);
        }
        Err(E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        Err(E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}
