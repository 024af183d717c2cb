//! What a client may read of a failure.

use super::sources::sources;

/// The files of the errors that become a `RequestError`.
const KINDS: [&str; 6] = [
    "runtime/error.rs",
    "windows/traffic/unavailable.rs",
    "gateway/request/rejection.rs",
    "gateway/upstream/error.rs",
    "gateway/plugins/auth/error.rs",
    "gateway/plugins/idempotency/error.rs",
];

/// A variant that holds a `String` is named here, with the reason why a client may read it.
#[test]
fn every_error_variant_holds_public_words_or_a_cause() {
    const PUBLIC: [(&str, &str); 3] = [
        (
            "MethodNotAllowed { allow: String }",
            "methods of routes, which Allow names as well",
        ),
        (
            "Forbidden { needed: String }",
            "scopes, which the challenge names as well",
        ),
        ("NoScopeForMethod { method: String }", "the request's own"),
    ];
    let mut files = 0;
    for (path, text) in sources("host") {
        if !KINDS.iter().any(|kind| path.ends_with(kind)) {
            continue;
        }
        files += 1;
        let variants = &text[text.find("pub").unwrap()..text.find("\n}\n").unwrap()];
        assert!(variants.contains("enum "), "{}", path.display());
        // A sentence may not show what is for the log.
        for shown in ["{window", "{cause", ".0"] {
            let known = path.ends_with("gateway/request/rejection.rs") && shown == ".0";
            assert!(!variants.contains(shown) || known, "{}", path.display());
        }
        let variants = one_line_each(variants);
        for line in variants.lines().filter(|line| line.contains("String")) {
            let known = line.contains("window: String")
                || PUBLIC.iter().any(|(variant, _)| line.contains(variant));
            assert!(known, "{line}: may a client read it? If not, it is a Cause");
        }
        let plain = variants.matches("#[error(\"{0}\")]").count();
        assert_eq!(plain, variants.matches("(Plain)").count());
    }
    assert_eq!(files, KINDS.len());
}

/// The variants without their doc comments, each with its fields on one line.
fn one_line_each(variants: &str) -> String {
    let mut lines = String::new();
    let mut inside = false;
    let code = variants.lines().map(str::trim);
    for line in code.filter(|line| !line.starts_with("///")) {
        inside = match line {
            "}," => false,
            _ => inside || line.ends_with('{') && !line.contains("enum "),
        };
        lines.push_str(line);
        lines.push(if inside { ' ' } else { '\n' });
    }
    lines.replace(", },", " },")
}
