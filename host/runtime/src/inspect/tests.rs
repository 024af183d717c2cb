use super::*;
use proptest::prelude::*;

const NONE: Experimental = Experimental { wasi_otel: false };
const OTEL: Experimental = Experimental { wasi_otel: true };
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn every_invalid_file_is_reported_as_what_it_is() {
    let code = |bytes: &[u8]| inspect(bytes, false, NONE).map_err(|refusal| refusal.code());
    assert_eq!(code(b""), Err("not-a-component"));
    assert_eq!(code(b"hello"), Err("not-a-component"));
    assert_eq!(code(b"\x7fELF\x02\x01"), Err("not-a-component"));
    assert_eq!(code(b"\0asm"), Err("truncated"));
    assert_eq!(code(EMPTY_MODULE), Err("core-module"));
    assert_eq!(code(EMPTY_COMPONENT), Err("missing-export"));
}

#[test]
fn only_released_versions_are_linked_and_of_drafted_packages_their_drafts() {
    for (name, stands) in [
        ("wasi:http/handler@0.3.0", Support::Linked),
        ("wasi:http/types@0.2.0", Support::Linked),
        ("wasi:cli/stdout@0.2.12", Support::Linked),
        ("wasi:sockets/types@0.3.1", Support::Linked),
        ("wasi:keyvalue/store@0.2.0-draft", Support::Linked),
        ("wasi:keyvalue/store@0.2.0-draft2", Support::Linked),
        ("wasi:http/handler@0.3.0-rc-2026-01-06", Support::Draft),
        ("wasi:http/types@0.3.0-draft", Support::Draft),
        ("wasi:io/streams@0.2.0-rc-2023-11-10", Support::Draft),
        ("wasi:cli/environment@0.4.0-rc-1", Support::Draft),
        ("wasi:keyvalue/store@0.2.0-draft3", Support::OtherVersion),
        ("wasi:keyvalue/store@0.2.0", Support::OtherVersion),
        ("wasi:cli/stdout@0.1.0", Support::OtherVersion),
        ("wasi:cli/stdout@1.0.0", Support::OtherVersion),
        ("wasi:cli/stdout@0.2.", Support::OtherVersion),
        ("wasi:cli/stdout@0.20.0", Support::OtherVersion),
        ("wasi:cli/stdout", Support::OtherVersion),
        ("wasi:config/store@0.2.0-rc.1", Support::Linked),
        ("wasi:config/store@0.2.0-draft-2024-09-27", Support::Linked),
        ("wasi:config/store@0.2.0-rc.2", Support::OtherVersion),
        ("wasi:config/runtime@0.2.0", Support::OtherVersion),
        ("wasi:logging/logging@0.1.0-draft", Support::Linked),
        ("wasi:logging/logging", Support::OtherVersion),
        ("spin:key-value/key-value@3.0.0", Support::Linked),
        ("spin:variables/variables@3.1.0", Support::Linked),
        ("spin:variables/variables@3.0.0-rc.1", Support::OtherVersion),
        ("spin:variables/variables@4.0.0", Support::OtherVersion),
        ("spin:llm/llm@3.0.0", Support::Unknown),
        ("fermyon:spin/key-value@2.0.0", Support::Linked),
        ("fermyon:spin/key-value", Support::OtherVersion),
        ("fermyon:spin/llm@2.0.0", Support::Unknown),
        ("wasmcloud:secrets/reveal@2.1.0", Support::Linked),
        ("wasmcloud:secrets/store@1.0.0", Support::OtherVersion),
        ("hms:store/transactions@0.1.0", Support::Linked),
        ("hms:telemetry/spans@0.1.0", Support::Linked),
        ("hms:store/transactions@0.2.0", Support::OtherVersion),
        ("wasi:configuration/store@0.2.0", Support::Unknown),
        ("api-key", Support::Unknown),
    ] {
        assert_eq!(support(name, NONE), stands, "{name}");
    }
}

/// A component that imports and exports an instance without anything in it.
fn component(import: &str, export: &str) -> Vec<u8> {
    let text = format!(
        r#"(component (import "{import}" (instance)) (instance $i) (export "{export}" (instance $i)))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn draft_interface_is_rejected_by_name_before_compilation() {
    let (released, handler) = ("wasi:http/types@0.3.0", "wasi:http/handler@0.3.0");
    let (types, drafted) = (
        "wasi:http/types@0.3.0-rc-2026-01-06",
        "wasi:http/handler@0.3.0-rc-2026-01-06",
    );
    assert!(inspect(&component(released, handler), false, NONE).is_ok());
    for (component, names) in [
        (component(types, handler), vec![types]),
        (component(released, drafted), vec![drafted]),
        (component(types, drafted), vec![types, drafted]),
    ] {
        let refused = inspect(&component, false, NONE).unwrap_err();
        assert_eq!(refused.code(), "draft-interface");
        let said = refused.to_string();
        assert!(names.iter().all(|name| said.contains(name)), "{said}");
        assert!(said.contains("released WASI 0.2 or 0.3"), "{said}");
    }
    let old = inspect(&component("wasi:cli/stdout@0.1.0", handler), false, NONE).unwrap_err();
    assert_eq!(old.code(), "unknown-version");
}

#[test]
fn unknown_imports_are_let_in_by_the_flag_that_the_refusal_names_and_exports_are_not() {
    let (handler, drafted) = (
        "wasi:http/handler@0.3.0",
        "wasi:http/handler@0.3.0-rc-2026-01-06",
    );
    for (import, code) in [
        ("spin:llm/llm@3.0.0", "unknown-import"),
        ("wasi:http/types@0.3.0-rc-2026-01-06", "draft-interface"),
        ("wasi:keyvalue/store@0.2.0-draft3", "unknown-version"),
    ] {
        let good = component(import, handler);
        let refused = inspect(&good, false, NONE).unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.to_string().contains("--trap-unknown"), "{refused}");
        let inspection = inspect(&good, true, NONE).unwrap();
        assert_eq!(unknown(&inspection.imports, NONE), [import]);
        let refused = inspect(&component(import, drafted), true, NONE).unwrap_err();
        assert_eq!(refused.code(), "draft-interface");
        let said = refused.to_string();
        assert!(
            said.contains(drafted) && !said.contains("--trap-unknown"),
            "{said}"
        );
    }
    let old = inspect(
        &component("wasi:keyvalue/store@0.2.0-draft3", handler),
        false,
        NONE,
    );
    let said = old.unwrap_err().to_string();
    assert!(
        said.contains("wasi:keyvalue@0.2.0-draft or @0.2.0-draft2"),
        "{said}"
    );
}

#[test]
fn advice_is_given_for_every_import_that_is_not_there() {
    for (import, part) in [
        (
            "spin:llm/llm@3.0.0",
            "call the model's API over wasi:http; or, if it is never called",
        ),
        ("acme:vault/doors@1.0.0", "remove what needs it"),
        ("wasi:http/types@0.3.0-rc-2026-01-06", "a draft"),
        (
            "wasi:keyvalue/store@0.2.0",
            "this host has @0.2.0-draft or @0.2.0-draft2",
        ),
        ("spin:variables/variables@4.0.0", "this host has @3.x"),
        ("wasi:cli/stdout@1.0.0", "this host has @0.2.x or @0.3.x"),
    ] {
        let advice = advice(import, NONE).unwrap();
        assert!(advice.contains(part), "{import}: {advice}");
    }
    assert_eq!(advice("wasi:http/types@0.3.0", NONE), None);
    assert_eq!(advice("wasi:sockets/tcp@0.2.0", NONE), None);
}

#[test]
fn interface_behind_a_flag_is_refused_with_the_flag_and_accepted_with_it() {
    let handler = "wasi:http/handler@0.3.0";
    let otel = "wasi:otel/tracing@0.2.0-rc.2";
    let good = component(otel, handler);
    let refused = inspect(&good, false, NONE).unwrap_err();
    assert_eq!(refused.code(), "unknown-import");
    assert!(refused.to_string().contains("--wasi-otel"), "{refused}");
    assert!(advice(otel, NONE).unwrap().contains("--wasi-otel"));
    assert!(inspect(&good, false, OTEL).is_ok());
    assert_eq!(advice(otel, OTEL), None);
    let trapped = inspect(&good, true, NONE).unwrap();
    assert_eq!(unknown(&trapped.imports, NONE), [otel]);
    assert!(unknown(&trapped.imports, OTEL).is_empty());

    let old = component("wasi:otel/logs@0.2.0-rc.1", handler);
    let refused = inspect(&old, false, OTEL).unwrap_err();
    assert_eq!(refused.code(), "unknown-version");
    assert!(refused.to_string().contains("wasi:otel/logs@0.2.0-rc.2"));
    let metrics = "wasi:otel/metrics@0.2.0-rc.2";
    for experimental in [NONE, OTEL] {
        let refused = inspect(&component(metrics, handler), false, experimental);
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), "unknown-import");
        assert!(!refused.to_string().contains("--wasi-otel"), "{refused}");
        assert!(advice(metrics, experimental).unwrap().contains("the host"));
    }
}

#[test]
fn section_that_ends_early_is_truncated() {
    let mut bytes = EMPTY_COMPONENT.to_vec();
    bytes.extend([0, 40, 4, b'n', b'a']);
    assert_eq!(
        inspect(&bytes, false, NONE).map_err(|r| r.code()),
        Err("truncated")
    );
}

proptest! {
    #[test]
    fn inspection_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..200), module: bool) {
        let mut bytes = if module { EMPTY_MODULE } else { EMPTY_COMPONENT }.to_vec();
        bytes.extend(&tail);
        let _ = inspect(&bytes, module, NONE);
        let _ = inspect(&tail, !module, NONE);
    }
}
