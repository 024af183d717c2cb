use super::*;
use crate::Manifest;
use crate::sample::{FIELDS, Sample};
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Result<Sample, Vec<String>> {
    let said = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect();
    Sample::parse("test", text).map_err(said)
}

#[test]
fn every_fault_is_said_in_its_place_and_in_the_order_of_the_text() {
    let sample = read("\u{feff}name: a\nsize: 1KiB\n").unwrap();
    assert_eq!((sample.name.as_str(), sample.size), ("a", 1024));
    let faults = read("size: 2MiB\nnmae: a\nmore: [\n  1]\nmore: 2\n").unwrap_err();
    assert_eq!(
        faults,
        [
            "line 1, column 7: size: the text '2MiB' is not a size from 1B to 1MiB",
            "line 2, column 1: unknown field 'nmae', did you mean 'name'?",
            "line 5, column 1: the field 'more' is duplicated",
        ]
    );
    for (text, fault) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("name: a\n---\nname: b\n", "one file is one sample"),
        ("- a", "a list is not a sample"),
        ("name: a", "the field 'size' is missing"),
    ] {
        let faults = read(text).unwrap_err();
        assert!(faults[0].contains(fault), "{text}: {faults:?}");
    }
}

#[test]
fn schema_is_made_of_the_fields() {
    let schema = object(FIELDS, &["name"]);
    assert_eq!(schema["properties"]["more"]["type"], "string");
    assert_eq!(schema["properties"]["size"]["description"], "Its size.");
    assert_eq!(schema["required"], json!(["name"]));
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn line_of_a_field_is_found_at_the_top_level_alone() {
    let text = "a:\n  uri: 1\nuris: 2\nuri : 3\n";
    assert_eq!(line_of(text, "uri"), 4);
    assert_eq!(line_of(text, "none"), 1);
}

proptest! {
    #[test]
    fn document_reader_never_panics(
        text in "((name|size|more|-|&a|\\*a|!t|~|\\[|\\]|\\{|\\}|'|\"|30|-1|1e9|0x1f|<<)(: |\n|\n  |, | )){0,20}"
    ) {
        if let Err(faults) = read(&text) {
            prop_assert!(!faults.is_empty());
        }
    }
}
