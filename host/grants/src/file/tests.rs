use super::*;
use crate::outbound::TemplatePart;
use crate::{HostPattern, SecretSource};
use hms_core::limits::{Limit, WindowLimits};
use http::uri::Scheme;
use proptest::prelude::*;

const WHOLE: &str = r#"
outbound:
  - to: https://api.card.example
    methods: [POST]
    paths: [/v1/charges/**]
    inject: {authorization: "Bearer {card-key}"}
    timeout: 10s
    at-once: 16
    private: [10.1.0.0/16]
    ca: card-ca.pem
    client-cert: {cert: client.pem, key: secrets/client.key}
  - to: http://*.sms.example:8080
calls: [docs, {window: notifications, as: self}]
internal: true
config: {currency: EUR}
secrets: {card-key: {file: secrets/card-key}, smtp-password: {credential: smtp}}
reveal: [smtp-password]
env: {LOG_LEVEL: info}
limits: {memory: 64MiB, wall-time: 10s, queue: 3}
"#;

fn grants(text: &str) -> Result<Grants, Vec<Fault>> {
    GrantsFile::parse("payments", text).map(|file| file.grants)
}

/// The one fault of `text`.
fn fault(text: &str) -> (usize, String) {
    let faults = grants(text).expect_err(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    (faults[0].line, faults[0].reason.clone())
}

#[test]
fn whole_file_reads_as_it_says() {
    let grants = grants(WHOLE).unwrap();
    let [card, sms] = &grants.outbound[..] else {
        panic!("{:?}", grants.outbound);
    };
    assert_eq!(
        (card.line, card.port, &card.scheme),
        (3, 443, &Scheme::HTTPS)
    );
    assert_eq!(card.host, HostPattern::Exact("api.card.example".into()));
    assert_eq!(card.methods, [http::Method::POST]);
    assert_eq!(
        card.inject[0].parts,
        [
            TemplatePart::Text("Bearer ".into()),
            TemplatePart::Secret("card-key".into())
        ]
    );
    assert_eq!(
        (card.timeout.unwrap().as_secs(), card.at_once),
        (10, Some(16))
    );
    assert!(card.ca.is_some() && card.client_cert.is_some() && card.private.len() == 1);
    assert_eq!(sms.host, HostPattern::Below("sms.example".into()));
    assert_eq!((sms.port, sms.methods.len()), (8080, 2));
    assert!(!grants.call("docs").unwrap().as_self);
    assert!(grants.call("notifications").unwrap().as_self && grants.internal);
    assert_eq!(grants.config["currency"], "EUR");
    assert_eq!(
        grants.secrets["smtp-password"],
        SecretSource::Credential("smtp".into())
    );
    assert!(grants.reveal.contains("smtp-password") && grants.env["LOG_LEVEL"] == "info");
    let limits = WindowLimits::default().with(&grants.limits);
    assert_eq!(limits.get(Limit::MemoryBytes), 64 << 20);
    assert_eq!(
        (limits.get(Limit::WallTimeMs), limits.get(Limit::Queue)),
        (10_000, 3)
    );
}

#[test]
fn files_of_this_repository_are_valid_and_need_no_secret() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../windows");
    let mut windows = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let window = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let file = GrantsFile::parse(&window, &text).unwrap();
            assert!(file.grants.secrets.is_empty(), "{window}");
            windows.push(window);
        }
    }
    assert!(!windows.is_empty());
}

#[test]
fn each_fault_has_its_line_and_says_what_to_do() {
    for (text, line, says) in [
        ("outbund: []", 1, "did you mean 'outbound'"),
        (
            "outbound:\n  - to: ftp://a.example",
            2,
            "https:// or http://",
        ),
        ("outbound:\n  - to: https://a.example/v1", 2, "'paths'"),
        ("outbound:\n  - to: https://u:p@a.example", 2, "'inject'"),
        (
            "outbound:\n  - to: https://*.example",
            2,
            "top-level domain",
        ),
        ("outbound:\n  - to: https://a.*.example", 2, "in front"),
        ("outbound:\n  - to: https://a.example:0", 2, "port"),
        ("outbound:\n  - to: https://a.example:+80", 2, "port"),
        ("outbound:\n  - to: http://hms-svc-docs", 2, "calls: [NAME]"),
        ("outbound:\n  - to: https://bücher.example", 2, "xn--"),
        ("outbound:\n  - methods: [GET]", 2, "'to' is missing"),
        (
            "outbound:\n  - to: https://a.example\n    methods: [get]",
            3,
            "capital letters",
        ),
        (
            "outbound:\n  - to: https://a.example\n    methods: ['*']",
            3,
            "as in [GET, POST]",
        ),
        ("outbound:\n  - to: http://127.1", 2, "write 127.0.0.1"),
        ("outbound:\n  - to: http://0x7f.1:80", 2, "write 127.0.0.1"),
        ("outbound:\n  - to: http://2130706433", 2, "write 127.0.0.1"),
        (
            "outbound:\n  - to: http://0177.0.0.01",
            2,
            "write 127.0.0.1",
        ),
        ("outbound:\n  - to: http://1.2.3.400", 2, "four numbers"),
        (
            "outbound:\n  - to: https://X.EXAMPLE.",
            2,
            "leave it out, as in 'x.example'",
        ),
        (
            "outbound:\n  - to: https://a.example\n    paths: [/a/../b]",
            3,
            "dot segment",
        ),
        (
            "outbound:\n  - to: https://a.example\n    paths: [/a%2fb]",
            3,
            "encoded slash",
        ),
        (
            "outbound:\n  - to: https://a.example\n    paths: [/a/*]",
            3,
            "{name}",
        ),
        (
            "outbound:\n  - to: https://a.example\n    inject: {x-key: a, x_key: b}",
            3,
            "set twice",
        ),
        (
            "outbound:\n  - to: https://a.example\n    inject: {content_length: '3'}",
            3,
            "host's own",
        ),
        (
            "outbound:\n  - to: https://a.example\n    methods: [CONNECT]",
            3,
            "tunnel",
        ),
        (
            "outbound:\n  - to: https://a.example\n    inject: {a: \"{key}\"}",
            3,
            "no secret 'key'",
        ),
        (
            "outbound:\n  - to: https://a.example\n    inject: {Host: b}",
            3,
            "host's own",
        ),
        (
            "outbound:\n  - to: https://a.example\n    inject: {x-hms-user: b}",
            3,
            "host's own",
        ),
        (
            "outbound:\n  - to: https://a.example\n    private: [ten]",
            3,
            "10.0.0.0/8",
        ),
        (
            "outbound:\n  - to: http://a.example\n    ca: a.pem",
            3,
            "TLS",
        ),
        ("calls: [payments]", 1, "itself"),
        ("calls: [docs, docs]", 1, "duplicated"),
        ("calls: [Docs]", 1, "lower-case"),
        ("reveal: [a]", 1, "no secret 'a'"),
        ("secrets: {a: hunter2}", 1, "does not belong in this file"),
        ("secrets: {a: {file: a, credential: b}}", 1, "one source"),
        ("secrets: {a: {credential: ../b}}", 1, "no '/'"),
        (
            "secrets: {a: {file: a}}\nconfig: {a: b}",
            2,
            "one or the other",
        ),
        ("env: {1A: b}", 1, "environment variable"),
        ("limits: {memroy: 1MiB}", 1, "did you mean 'memory'"),
        ("limits: {memory: 1KiB}", 1, "is not from 1MiB"),
        ("limits: {queue: 5s}", 1, "whole number"),
    ] {
        let (at, reason) = fault(text);
        assert_eq!(at, line, "{text}: {reason}");
        assert!(reason.contains(says), "{text}: {reason}");
    }
}

#[test]
fn fault_about_a_secret_does_not_repeat_what_may_be_its_value() {
    let (_, reason) = fault("secrets: {a: hunter2}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

#[test]
fn host_is_read_in_lower_case() {
    let read = grants("outbound: [{to: 'https://API.Card.EXAMPLE:8443'}]").unwrap();
    assert_eq!(read.outbound[0].to(), "https://api.card.example:8443");
    let read = grants("outbound: [{to: 'https://[::FFFF:1.2.3.4]'}]").unwrap();
    assert_eq!(read.outbound[0].to(), "https://[::ffff:1.2.3.4]");
}

#[test]
fn file_is_named_for_its_window() {
    let faults = GrantsFile::parse("My Window", "internal: true").unwrap_err();
    assert!(faults[0].reason.contains("whose grants"), "{faults:?}");
}

#[test]
fn schema_has_every_field_and_every_limit() {
    let schema = schema();
    for field in FIELDS {
        assert!(
            schema["properties"][field.name].is_object(),
            "{}",
            field.name
        );
    }
    assert!(schema["properties"]["limits"]["properties"]["memory"].is_object());
}

proptest! {
    #[test]
    fn file_reader_never_panics(text in "\\PC{0,200}") {
        let _ = grants(&text);
    }

    #[test]
    fn origin_reader_never_panics(origin in "[a-zA-Z0-9:/.*@\\[\\]?#-]{0,40}") {
        let _ = grants(&format!("outbound: [{{to: \"{origin}\"}}]"));
    }
}

#[test]
fn url_with_a_password_is_refused_without_being_repeated() {
    for to in [
        "https://user:hunter2@a.example",
        "https://user:hunter2@a.example/path?x",
        "user:hunter2@a.example",
        "https://user:hun/ter2@a.example",
    ] {
        let (line, reason) = fault(&format!("outbound:\n  - to: {to}\n"));
        assert_eq!(line, 2);
        assert!(
            reason.contains("'inject'") && !reason.contains("ter2"),
            "{reason}"
        );
    }
}

#[test]
fn lines_of_limits_and_secrets_are_known() {
    let text = "limits:\n  memory: 64MiB\n  queue: 3\nsecrets:\n  a: {file: a}\n  b:\n    \
                file: b\nreveal: [a]\n";
    let lines = grants(text).unwrap().lines;
    assert_eq!(lines.limits[&Limit::MemoryBytes], 2);
    assert_eq!(lines.limits[&Limit::Queue], 3);
    assert_eq!((lines.secrets["a"], lines.reveal), (5, 8));
}
