//! A kind of manifests for the tests of this crate.

use super::{Fault, Field, Kind, Manifest, Words, line_of, read_document};
use serde_json::json;

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "name",
        kind: Kind::Text("box"),
        doc: "Its name, which no other file may have.",
    },
    Field {
        name: "size",
        kind: Kind::Size(1..=1 << 20),
        doc: "Its size.",
    },
    Field {
        name: "more",
        kind: Kind::Own(|| json!({ "type": "string" })),
        doc: "Anything.",
    },
];

#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub name: String,
    pub size: u64,
    text: String,
}

impl Manifest for Sample {
    const WORDS: Words = Words {
        one: "sample",
        many: "samples",
        folder: "samples folder",
        request: "GET /samples",
        command: "hms samples",
    };

    type Claim = String;

    fn parse(_name: &str, text: &str) -> Result<Sample, Vec<Fault>> {
        read_document(text, Self::WORDS.one, |node| {
            let map = node.map(FIELDS, "a sample")?;
            let name = map.require("name").is_some();
            let name = name.then(|| map.parsed("name", |text| Ok(text.to_owned())));
            let size = map.require("size").is_some();
            let size = size.then(|| map.size("size")).flatten();
            Some(Sample {
                name: name.flatten()?,
                size: size?,
                text: text.to_owned(),
            })
        })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn claims(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn line_of_claims(text: &str) -> usize {
        line_of(text, "name")
    }
}
