//! The crate for authors has its bindings in its source, so that nobody who builds a window has to
//! build their generator. The test compares them with what the generator makes of `wit/`.
//!
//! After a change of the interfaces or of the generator's version, write them anew. In
//! `components/`:
//!
//!     UPDATE_BINDINGS=1 cargo test -p bindings
#![cfg(test)]

use std::path::Path;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

const CRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/rust");

/// The bindings of a world. Types of HTTP are those of `wasip3`.
fn generate(world: &str) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(Path::new(CRATE).join("wit")).unwrap();
    let id = resolve.select_world(&[package], Some(world)).unwrap();
    let http = WithOption::Path("wasip3::http::types".to_owned());
    let http = ("wasi:http/types@0.3.0".to_owned(), http);
    let options = Opts {
        format: true,
        generate_all: true,
        runtime_path: Some("wasip3::wit_bindgen::rt".to_owned()),
        // An entry that a world does not use is refused.
        with: Vec::from_iter((world == "chain").then_some(http)),
        ..Opts::default()
    };
    let mut files = Files::default();
    let mut generator = options.build();
    generator.generate(&mut resolve, id, &mut files).unwrap();
    let (_, text) = files.iter().next().unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn bindings_in_the_crate_for_authors_are_those_of_the_interfaces() {
    for world in ["chain", "configuration", "events", "spans", "storage"] {
        let file = format!("{CRATE}/src/bindings/{world}.rs");
        let generated = generate(world);
        if std::env::var_os("UPDATE_BINDINGS").is_some() {
            std::fs::write(&file, &generated).unwrap();
        }
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(
            source == generated,
            "src/bindings/{world}.rs is not what the generator makes: in components/, run \
             UPDATE_BINDINGS=1 cargo test -p bindings"
        );
    }
}
