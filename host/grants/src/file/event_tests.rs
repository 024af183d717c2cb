use super::*;
use crate::schedule::{Missed, Overlap, Schedule};
use crate::subscription::{
    AfterPark, ContentMode, DeliverTo, Filter, Order, Retry, Start, Subscription,
};
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

const WHOLE: &str = r#"
outbound:
  - {to: https://sms.example, methods: [POST], paths: [/v1/**]}
subscriptions:
  payments-paid:
    from: [payments, docs]
    filters:
      - exact: {type: gov.payment.paid.v1}
      - any: [{prefix: {subject: a}}, {not: {suffix: {subject: z, type: .v1}}}]
      - all: [{exact: {source: "urn:hms:window:payments"}}]
    to: /events
    start: earliest
    order: none
    concurrency: 256
    retry: {first: 2s, max: 10m, for: 12h}
    after-park: hold
    content: structured
  texts:
    from: [notifications]
    to: https://sms.example/v1/send?from=gov
    start: 2026-10-01T02:00:00+02:00
schedules:
  nightly: {cron: "0 2 * * *", time-zone: europe/berlin, to: /jobs/nightly, missed: all, within: 2d, overlap: queue, jitter: 5m}
  hourly: {cron: "@hourly", to: /jobs/%68ourly}
"#;

fn grants(text: &str) -> Result<Grants, Vec<Fault>> {
    GrantsFile::parse("notifications", text).map(|file| file.grants)
}

fn windows(names: &[&str]) -> Vec<WindowName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    let owned = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
    owned.collect()
}

#[test]
fn whole_file_reads_as_it_says() {
    let grants = grants(WHOLE).unwrap();
    let not = Filter::Not(Box::new(Filter::Suffix(pairs(&[
        ("subject", "z"),
        ("type", ".v1"),
    ]))));
    let paid = Subscription {
        name: "payments-paid".into(),
        from: windows(&["payments", "docs"]),
        filters: vec![
            Filter::Exact(pairs(&[("type", "gov.payment.paid.v1")])),
            Filter::Any(vec![Filter::Prefix(pairs(&[("subject", "a")])), not]),
            Filter::All(vec![Filter::Exact(pairs(&[(
                "source",
                "urn:hms:window:payments",
            )]))]),
        ],
        to: DeliverTo::Path("/events".into()),
        start: Start::Earliest,
        order: Order::None,
        concurrency: 256,
        retry: Retry {
            first: Duration::from_secs(2),
            max: Duration::from_secs(600),
            total: Duration::from_secs(12 * 3600),
        },
        after_park: AfterPark::Hold,
        content: ContentMode::Structured,
        line: 6,
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_812_800);
    let texts = Subscription {
        name: "texts".into(),
        from: windows(&["notifications"]),
        filters: Vec::new(),
        to: DeliverTo::Service("https://sms.example/v1/send?from=gov".into()),
        start: Start::At(at),
        order: Order::Key,
        concurrency: 8,
        retry: Retry::DEFAULT,
        after_park: AfterPark::Continue,
        content: ContentMode::Binary,
        line: 19,
    };
    assert_eq!(grants.subscriptions, [paid, texts]);
    let nightly = Schedule {
        name: "nightly".into(),
        cron: "0 2 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        to: "/jobs/nightly".into(),
        missed: Missed::All,
        within: Duration::from_secs(2 * 24 * 3600),
        overlap: Overlap::Queue,
        jitter: Duration::from_secs(300),
        line: 23,
    };
    let hourly = Schedule {
        name: "hourly".into(),
        cron: "@hourly".into(),
        time_zone: "UTC".into(),
        to: "/jobs/hourly".into(),
        missed: Missed::Last,
        within: Duration::from_secs(3600),
        overlap: Overlap::Skip,
        jitter: Duration::ZERO,
        line: 24,
    };
    assert_eq!(grants.schedules, [nightly, hourly]);
}

/// The subscription `s` of this text, with what it needs.
fn subscription(fields: &str) -> String {
    format!("subscriptions:\n  s:\n    from: [payments]\n    to: /events\n    {fields}\n")
}

fn to(to: &str) -> String {
    format!("subscriptions:\n  s:\n    from: [payments]\n    to: {to}\n")
}

fn schedule(fields: &str) -> String {
    format!("schedules:\n  s:\n    to: /jobs\n    {fields}\n")
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    let sms = "outbound: [{to: https://sms.example, methods: [POST], paths: [/v1/send]}]\n";
    let get = "outbound: [{to: https://sms.example}]\n";
    for (text, (line, column), says) in [
        ("subscriptions: [a]".into(), (1, 16), "by name"),
        (
            "subscriptions:\n  S: {from: [a], to: /e}".into(),
            (2, 3),
            "'S' is not a name",
        ),
        (
            "subscriptions:\n  -a: {from: [a], to: /e}".into(),
            (2, 3),
            "inner hyphens",
        ),
        (
            "subscriptions:\n  a: {from: [a], to: /e}\n  a: {from: [a], to: /e}".into(),
            (3, 3),
            "duplicated",
        ),
        (
            "subscriptions:\n  a: {to: /e}".into(),
            (2, 6),
            "'from' is missing",
        ),
        (
            "subscriptions:\n  a: {from: [b]}".into(),
            (2, 6),
            "'to' is missing",
        ),
        (
            "subscriptions:\n  a: {from: [], to: /e}".into(),
            (2, 13),
            "the list is empty",
        ),
        (
            "subscriptions:\n  a: {from: [b, b], to: /e}".into(),
            (2, 13),
            "'b' is duplicated",
        ),
        (
            "subscriptions:\n  a: {from: [B], to: /e}".into(),
            (2, 14),
            "lower-case",
        ),
        (
            "subscriptions:\n  a: {form: [b], to: /e}".into(),
            (2, 7),
            "did you mean 'from'",
        ),
        (to("events"), (4, 9), "must begin with '/', as in /events"),
        (to("/a/../b"), (4, 9), "dot segment"),
        (to("/a?b=c"), (4, 9), "without '?'"),
        (to("ftp://sms.example/"), (4, 9), "https:// or http://"),
        (
            to("http://hms-svc-docs/events"),
            (4, 9),
            "that window's own file",
        ),
        (to("https://*.sms.example/"), (4, 9), "one service"),
        (
            to("https://sms.example/v1/send"),
            (4, 9),
            "no entry of 'outbound' allows POST https://sms.example/v1/send; to allow it, add to \
             'outbound': - {to: \"https://sms.example\", methods: [\"POST\"], paths: \
             [\"/v1/send\"]}",
        ),
        (
            format!("{get}{}", to("https://sms.example/v1/send")),
            (5, 9),
            "allows POST",
        ),
        (
            format!("{sms}{}", to("https://sms.example/v1/other")),
            (5, 9),
            "allows POST",
        ),
        (
            format!("{sms}{}", to("https://sms.example:8443/v1/send")),
            (5, 9),
            "allows POST",
        ),
        (
            format!("{sms}{}", to("http://sms.example/v1/send")),
            (5, 9),
            "allows POST",
        ),
        (
            subscription("start: yesterday"),
            (5, 12),
            "2026-10-01T00:00:00Z",
        ),
        (
            subscription("start: 2026-10-01"),
            (5, 12),
            "with its offset",
        ),
        (
            subscription("start: 1969-10-01T00:00:00Z"),
            (5, 12),
            "is not a start",
        ),
        (subscription("order: subject"), (5, 12), "one of: key, none"),
        (subscription("concurrency: 0"), (5, 18), "from 1 to 256"),
        (subscription("concurrency: 257"), (5, 18), "from 1 to 256"),
        (subscription("after-park: stop"), (5, 17), "continue, hold"),
        (
            subscription("content: batch"),
            (5, 14),
            "binary, structured",
        ),
        (subscription("retry: {for: 31d}"), (5, 18), "from 1s to 30d"),
        (subscription("retry: {for: 3}"), (5, 18), "from 1s to 30d"),
        (subscription("retry: {first: 10ms}"), (5, 20), "from 100ms"),
        (
            subscription("retry: {first: 2h}"),
            (5, 12),
            "longer than 'max'",
        ),
        (
            subscription("filters: {exact: {type: a}}"),
            (5, 14),
            "a list, as in",
        ),
        (subscription("filters: []"), (5, 14), "the list is empty"),
        (subscription("filters: [{}]"), (5, 15), "one of exact"),
        (
            subscription("filters: [{exact: {type: a}, prefix: {type: b}}]"),
            (5, 15),
            "into a list",
        ),
        (
            subscription("filters: [{exakt: {type: a}}]"),
            (5, 16),
            "did you mean 'exact'",
        ),
        (
            subscription("filters: [{sql: \"TRUE\"}]"),
            (5, 16),
            "not supported",
        ),
        (
            subscription("filters: [{exact: {}}]"),
            (5, 23),
            "names no attribute",
        ),
        (
            subscription("filters: [{exact: {type: ''}}]"),
            (5, 30),
            "1 to 4096 bytes",
        ),
        (
            subscription("filters: [{exact: {type: 5}}]"),
            (5, 30),
            "in quotes",
        ),
        (
            subscription("filters: [{exact: {Type: a}}]"),
            (5, 24),
            "lower-case",
        ),
        (
            subscription("filters: [{exact: {type: a, type: b}}]"),
            (5, 33),
            "duplicated",
        ),
        (
            subscription("filters: [{all: []}]"),
            (5, 21),
            "the list is empty",
        ),
        (
            subscription("filters: [{not: [{exact: {type: a}}]}]"),
            (5, 21),
            "a filter, as in",
        ),
        (
            "schedules:\n  a: {to: /jobs}".into(),
            (2, 6),
            "'cron' is missing",
        ),
        (
            "schedules:\n  a: {cron: '@daily'}".into(),
            (2, 6),
            "'to' is missing",
        ),
        (
            "schedules:\n  a: {cron: '@daily', to: 'https://a.example'}".into(),
            (2, 27),
            "not a path of the window",
        ),
        (schedule("cron: 0 2 * *"), (4, 11), "five fields"),
        (
            schedule("cron: 0 0 2 * * *"),
            (4, 11),
            "seconds are not supported",
        ),
        (schedule("cron: 0 0 31 2 *"), (4, 11), "never comes"),
        (
            schedule("cron: '@daily'\n    time-zone: Berlin"),
            (5, 16),
            "Europe/Berlin",
        ),
        (
            schedule("cron: '@daily'\n    missed: first"),
            (5, 13),
            "last, all, skip",
        ),
        (
            schedule("cron: '@daily'\n    overlap: all"),
            (5, 14),
            "skip, queue",
        ),
        (
            schedule("cron: '@daily'\n    within: 1w"),
            (5, 13),
            "from 1s to 30d",
        ),
        (
            schedule("cron: '@daily'\n    jitter: 25h"),
            (5, 13),
            "at most 24h",
        ),
    ] {
        let text: String = text;
        let faults = grants(&text).expect_err(&text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        let fault = &faults[0];
        assert!(fault.reason.contains(says), "{text}: {}", fault.reason);
        assert_eq!(
            (fault.line, fault.column),
            (line, column),
            "{text}: {}",
            fault.reason
        );
    }
}

#[test]
fn window_may_subscribe_to_itself_and_to_any_other() {
    let own = "subscriptions: {timers: {from: [notifications, later], to: /timers}}";
    assert_eq!(grants(own).unwrap().subscriptions.len(), 1);
}

#[test]
fn service_is_allowed_by_a_pattern_and_by_an_entry_for_every_path() {
    for outbound in [
        "{to: https://sms.gov.example, methods: [GET, POST]}",
        "{to: 'https://*.gov.example', methods: [POST], paths: ['/v1/{what}']}",
    ] {
        let text = format!(
            "outbound: [{outbound}]\n{}",
            to("https://SMS.gov.example:443/v1/send?x=1")
        );
        assert_eq!(grants(&text).err(), None, "{outbound}");
    }
    // Of an entry with a fault nobody knows what it allows.
    let text = format!(
        "outbound: [{{too: https://a}}]\n{}",
        to("https://sms.example/")
    );
    let faults = grants(&text).unwrap_err();
    assert!(faults.iter().all(|fault| fault.line == 1), "{faults:?}");
}

#[test]
fn url_with_a_password_is_refused_without_being_repeated() {
    let faults = grants(&to("https://user:hunter2@sms.example/")).unwrap_err();
    let reason = &faults[0].reason;
    assert!(
        reason.contains("'inject'") && !reason.contains("hunter2"),
        "{reason}"
    );
}

#[test]
fn number_and_depth_of_filters_are_bounded() {
    let leaf = "{exact: {type: a}}";
    let nested = |depth: usize| {
        format!(
            "{}{leaf}{}",
            "{not: ".repeat(depth - 1),
            "}".repeat(depth - 1)
        )
    };
    let read = |filters: &str| grants(&subscription(&format!("filters: [{filters}]")));
    assert!(read(&nested(8)).is_ok());
    let faults = read(&nested(9)).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].reason.contains("8 deep"), "{faults:?}");
    let many = |many: usize| vec![leaf; many].join(", ");
    assert!(read(&many(256)).is_ok());
    let faults = read(&many(300)).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].reason.contains("more than 256"), "{faults:?}");
    // Those within others count as well.
    assert!(read(&format!("{{any: [{}]}}", many(256))).is_err());
}

#[test]
fn number_of_subscriptions_and_of_schedules_is_bounded() {
    for (field, one) in [
        ("subscriptions", "{from: [a], to: /e}"),
        ("schedules", "{cron: '@daily', to: /e}"),
    ] {
        let file = |many: usize| {
            let entries = (0..many).map(|n| format!("  s{n}: {one}\n"));
            grants(&format!("{field}:\n{}", entries.collect::<String>()))
        };
        assert!(file(64).is_ok());
        let faults = file(65).unwrap_err();
        assert!(faults[0].reason.contains("more than 64"), "{faults:?}");
    }
}

#[test]
fn schema_has_the_fields_and_the_filters() {
    let schema = schema();
    let one = &schema["properties"]["subscriptions"]["additionalProperties"];
    assert_eq!(one["required"], serde_json::json!(["from", "to"]));
    assert_eq!(
        one["properties"]["filters"]["items"]["$ref"],
        "#/$defs/filter"
    );
    assert!(schema["$defs"]["filter"]["properties"]["not"].is_object());
    let one = &schema["properties"]["schedules"]["additionalProperties"];
    assert!(one["properties"]["cron"].is_object());
}

proptest! {
    #[test]
    fn subscription_reader_never_panics(text in "[a-z{}\\[\\]:,/ \n]{0,80}") {
        let _ = grants(&format!("subscriptions:\n  a: {{{text}"));
        let _ = grants(&format!("subscriptions: {{a: {{filters: {text}}}}}"));
    }

    #[test]
    fn place_reader_never_panics(to in "[a-zA-Z0-9:/.*@\\[\\]?#%-]{0,40}") {
        let _ = grants(&format!("subscriptions: {{a: {{from: [b], to: \"{to}\"}}}}"));
        let _ = grants(&format!("schedules: {{a: {{cron: \"{to}\", to: \"{to}\"}}}}"));
    }
}
