use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What the tests of this crate read: a `name` and a `size`.
const FIELDS: &[Field] = &[
    Field {
        name: "name",
        kind: Kind::Text("box"),
        doc: "Its name.",
    },
    Field {
        name: "size",
        kind: Kind::Size(1..=1 << 20),
        doc: "Its size.",
    },
    Field {
        name: "more",
        kind: Kind::Own(any),
        doc: "Anything.",
    },
];

fn any() -> Value {
    json!({ "type": "string" })
}

fn read(text: &str) -> Result<(String, u64), Vec<String>> {
    let document = read_document(text, "box", |node| {
        let map = node.map(FIELDS, "a box")?;
        let name = map.require("name").is_some();
        let name = name.then(|| map.parsed("name", |text| Ok(text.to_owned())));
        let size = map.require("size").is_some();
        let size = size.then(|| map.size("size")).flatten();
        Some((name.flatten()?, size?))
    });
    document.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn every_fault_is_said_in_its_place_and_in_the_order_of_the_text() {
    assert_eq!(
        read("\u{feff}name: a\nsize: 1KiB\n"),
        Ok(("a".into(), 1024))
    );
    let faults = read("size: 2MiB\nnmae: a\nmore: [\n  1]\nmore: 2\n").unwrap_err();
    assert_eq!(
        faults,
        [
            "line 1, column 7: size: the text '2MiB' is not a size from 1B to 1MiB",
            "line 2, column 1: unknown field 'nmae', did you mean 'name'?",
            "line 5, column 1: the field 'more' is given twice",
        ]
    );
    for (text, fault) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("name: a\n---\nname: b\n", "one file is one box"),
        ("- a", "a list is not a box"),
        ("name: a", "the field 'size' is missing"),
    ] {
        let faults = read(text).unwrap_err();
        assert!(faults[0].contains(fault), "{text}: {faults:?}");
    }
}

#[test]
fn the_schema_is_made_of_the_fields() {
    let schema = object(FIELDS, &["name"]);
    assert_eq!(schema["properties"]["more"]["type"], "string");
    assert_eq!(schema["properties"]["name"]["description"], "Its name.");
    assert_eq!(schema["required"], json!(["name"]));
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn the_line_of_a_field_is_found_at_the_top_level_alone() {
    let text = "a:\n  uri: 1\nuris: 2\nuri : 3\n";
    assert_eq!(line_of(text, "uri"), 4);
    assert_eq!(line_of(text, "none"), 1);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "((name|size|more|-|&a|\\*a|!t|~|\\[|\\]|\\{|\\}|'|\"|30|-1|1e9|0x1f|<<)(: |\n|\n  |, | )){0,20}"
    ) {
        if let Err(faults) = read(&text) {
            prop_assert!(!faults.is_empty());
        }
    }
}
