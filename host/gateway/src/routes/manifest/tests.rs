use super::*;
use crate::plugins::{auth, rate_limit};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Result<Route, Vec<Fault>> {
    Route::parse("test", text)
}

/// `tests/manifests/KIND` of this repository.
fn golden(kind: &str) -> Vec<(PathBuf, String)> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("tests/manifests")
        .join(kind);
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn good_manifests_parse_as_their_golden_files_say() {
    for (path, text) in golden("good") {
        let route = parse(&text).unwrap_or_else(|faults| panic!("{}: {faults:?}", path.display()));
        let mut read = format!(
            "uri: {}\nupstream: {}\nplugins: {}\nstrip-prefix: {:?}\n",
            route.uri,
            route.upstream,
            route.rules.names().join(", "),
            route.strip,
        );
        for (said, line) in [
            (route.pass_host, "host: pass\n"),
            (!route.rewrite_location, "rewrite-location: false\n"),
            (route.paths.encoded_slashes, "encoded-slashes: allow\n"),
            (route.paths.empty_segments, "empty-segments: allow\n"),
        ] {
            read.push_str(if said { line } else { "" });
        }
        assert_golden(&path, &read);
    }
}

#[test]
fn bad_manifests_are_rejected_with_the_text_of_their_golden_files() {
    for (path, text) in golden("bad") {
        match parse(&text) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(faults) => {
                let said: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
                assert_golden(&path, &said);
            }
        }
    }
}

/// The expected text is beside the manifest. `GOLDEN=write` writes it, for a person to read in the
/// diff.
fn assert_golden(manifest: &Path, found: &str) {
    let path = manifest.with_extension("txt");
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", manifest.display());
}

#[test]
fn documented_example_manifest_parses_unchanged() {
    let route = parse(
        "uri: /api/v1/payments/**\nupstream: http://hms-svc-payments:8080\nplugins:\n  - auth:\n      scopes: [\"payments.write\", \"payments.read\"]\n  - rate-limit:\n      limit: 30\n      window: 60\n",
    )
    .unwrap();
    assert_eq!(route.uri.to_string(), "/api/v1/payments/**");
    let [only] = &route.upstream.endpoints[..] else {
        panic!("{}", route.upstream);
    };
    assert_eq!(only.place, Destination::Window("payments".into()));
    assert_eq!(route.upstream.base, "");
    assert_eq!(route.stripped("/api/v1/payments"), "/payments");
    assert_eq!(route.stripped("/api/v1/payments/1"), "/payments/1");
    let scopes = vec!["payments.write".into(), "payments.read".into()];
    assert_eq!(
        route.rules.auth,
        Some(auth::Rule {
            scopes,
            ..auth::Rule::default()
        })
    );
    let period = Duration::from_secs(60);
    assert_eq!(
        route.rules.rate_limit,
        Some(rate_limit::Rule {
            limit: 30,
            period,
            ..rate_limit::Rule::default()
        })
    );
}

#[test]
fn rate_limit_window_is_in_seconds_or_a_time() {
    for (window, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600)] {
        let text = format!(
            "uri: /x\nupstream: http://hms-svc-x\nplugins:\n  - rate-limit: {{window: {window}}}\n"
        );
        let rule = parse(&text).unwrap().rules.rate_limit.unwrap();
        assert_eq!(rule.period, Duration::from_secs(seconds), "{window}");
    }
}

#[test]
fn short_form_means_any_token_and_60_requests_a_minute() {
    let route = parse("uri: /a\nupstream: http://hms-svc-a\nplugins: [auth, rate-limit]").unwrap();
    assert_eq!(route.rules.auth, Some(auth::Rule::default()));
    assert_eq!(route.rules.rate_limit, Some(rate_limit::Rule::default()));
    assert_eq!(
        (
            rate_limit::Rule::default().limit,
            rate_limit::Rule::default().period.as_secs()
        ),
        (60, 60)
    );
}

#[test]
fn pattern_matches_at_segment_boundaries() {
    let below = Pattern::parse("/api/v1/payments/**").unwrap();
    for (path, expected) in [
        ("/api/v1/payments", true),
        ("/api/v1/payments/", true),
        ("/api/v1/payments/a/b", true),
        ("/api/v1/paymentsX", false),
        ("/api/v1", false),
    ] {
        assert_eq!(below.matches(path), expected, "{path}");
    }
    assert!(Pattern::parse("/**").unwrap().matches("/"));
    assert!(!Pattern::parse("/a").unwrap().matches("/a/"));
}

#[test]
fn version_prefix_is_stripped_unless_the_manifest_says_otherwise() {
    for (strip, path, expected) in [
        ("", "/api/v2/x/y", "/x/y"),
        ("strip-prefix: true", "/api/v2/x/y", "/x/y"),
        ("strip-prefix: false", "/api/v2/x/y", "/api/v2/x/y"),
        ("strip-prefix: /api", "/api/v2/x/y", "/v2/x/y"),
        ("strip-prefix: /api/v2/x", "/api/v2/x", "/"),
        ("strip-prefix: /api/v2/x/", "/api/v2/x/y", "/y"),
        ("strip-prefix: /", "/api/v2/x/y", "/api/v2/x/y"),
    ] {
        let route = parse(&format!(
            "uri: /api/v2/x/**\nupstream: http://hms-svc-a\n{strip}"
        ))
        .unwrap();
        assert_eq!(route.stripped(path), expected, "{strip}");
    }
    for (uri, expected) in [
        ("/api/v1/**", "/api/v1"),
        ("/api/vx/**", ""),
        ("/api/v1x/**", ""),
        ("/v1/a", ""),
    ] {
        let route = parse(&format!("uri: {uri}\nupstream: http://hms-svc-a")).unwrap();
        assert_eq!(route.strip, expected, "{uri}");
    }
}

proptest! {
    #[test]
    fn pattern_parser_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn manifest_parser_never_panics(
        text in "((uri|upstream|plugins|strip-prefix|auth|rate-limit|limit|window|scopes|-|&a|\\*a|!t|~|\\[|\\]|\\{|\\}|'|\"|/api/v1|http://hms-svc-a|30|-1|1e9|0x1f|<<)(: |\n|\n  |, | )){0,20}"
    ) {
        if let Err(faults) = parse(&text) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.line >= 1 && fault.column >= 1 && !fault.reason.is_empty());
            }
        }
    }
}
