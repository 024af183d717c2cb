use super::*;
use crate::GrantsFile;
use hms_manifest::Manifest;

const CARD: &str = "outbound:\n  - to: https://api.card.example\n    methods: [POST]\n    \
                    paths: [/v1/charges/**]\n    inject: {authorization: \"Bearer {card-key}\"}\n\
                    secrets: {card-key: {file: k}, other: {file: o}}\n";

fn granted(text: &str) -> WindowGrants {
    let text = if text.is_empty() { "{}" } else { text };
    WindowGrants {
        grants: GrantsFile::parse("payments", text).unwrap().grants,
        folder: "windows".into(),
        file: "payments.yaml".into(),
        ..WindowGrants::default()
    }
}

fn http() -> Vec<String> {
    vec!["wasi:http/client@0.3.0".to_owned()]
}

fn asks(before: &str, after: &str) -> Option<String> {
    let [before, after] = [before, after].map(|text| abilities(&http(), &granted(text)));
    sentence(8, &gained(&before, &after))
}

#[test]
fn sentence_names_import_grant_secret_and_line() {
    let expected = "release 8 imports wasi:http/client: it may now POST \
                    https://api.card.example/v1/charges/** with secret card-key \
                    (windows/payments.yaml:2)";
    assert_eq!(asks("", CARD).as_deref(), Some(expected));
}

#[test]
fn grant_that_moves_or_shrinks_is_not_asked_for() {
    let moved = format!("# a comment\n{CARD}");
    let narrower = CARD.replace("/v1/charges/**", "/v1/charges/new");
    let shorter = CARD.replace("    paths", "    timeout: 1s\n    paths");
    for after in [CARD, &moved, &narrower, &shorter, "internal: true\n"] {
        assert_eq!(asks(CARD, after), None, "{after}");
    }
}

#[test]
fn every_way_to_grow_is_asked_for() {
    let more = |from: &str, to: &str| CARD.replace(from, to);
    for after in [
        more("[POST]", "[POST, DELETE]"),
        more("/v1/charges/**", "/v1/**"),
        more("/v1/charges/**", "/v1/chargesX"),
        more("https://api.", "http://api."),
        more("api.card", "*.card"),
        more("{card-key}\"", "{card-key}{other}\""),
        more("    paths", "    private: [10.0.0.0/8]\n    paths"),
        more("    paths", "    ca: my.pem\n    paths"),
        more(
            "card-key: {file: k}",
            "card-key: {file: ../data/admin.token}",
        ),
        format!("{CARD}calls: [docs]\n"),
    ] {
        assert!(asks(CARD, &after).is_some(), "{after}");
    }
}

#[test]
fn part_of_an_entry_that_an_earlier_one_hid_is_asked_for_when_that_goes() {
    let later = "  - to: https://a.example\n    methods: [GET, POST]\n    private: [10.0.0.0/8]\n";
    let both = format!("outbound:\n  - to: https://a.example\n    methods: [GET]\n{later}");
    let alone = format!("outbound:\n{later}");
    assert!(asks(&both, &alone).is_some());
    assert_eq!(asks(&alone, &both), None);
}

#[test]
fn paths_that_an_earlier_entry_decided_are_asked_for_when_it_goes() {
    let entry = |paths: &str, more: &str| {
        format!("  - {{to: 'https://a.example', paths: ['{paths}']{more}}}\n")
    };
    let private = ", private: [10.0.0.0/8]";
    let file = |entries: &[&str]| format!("outbound:\n{}", entries.concat());
    let (x, below) = (entry("/v1/x", ""), entry("/v1/**", private));
    let x_too = entry("/v1/x", private);
    let (both, alone) = (file(&[&x, &below]), file(&[&below]));
    for (before, after, grows) in [
        (&both, &alone, true),
        (&both, &file(&[&entry("/v1/y", ""), &below]), true),
        (&both, &file(&[&below, &x]), true),
        (&both, &both, false),
        (&alone, &both, false),
        // By either entry.
        (&file(&[&x_too, &below]), &alone, false),
        (&file(&[&x, &x_too, &below]), &alone, true),
        // What the earlier one decides is for no such path, or is still decided by one.
        (&file(&[&entry("/v2/x", ""), &below]), &alone, false),
        (&both, &file(&[&entry("/v1/{id}", ""), &below]), false),
        (&both, &file(&[&entry("/v1/y", private)]), false),
        (&both, &file(&[&entry("/v1/x", private)]), true),
        (&both, &file(&[&entry("/v1/{id}", private)]), true),
    ] {
        let asked = asks(before, after);
        assert_eq!(asked.is_some(), grows, "{before}{after}{asked:?}");
    }
    // Of two networks that are one together the same is asked.
    let halves = |first: &str| {
        let halves = ", private: [10.0.0.0/9, 10.128.0.0/9]";
        file(&[first, &entry("/v1/**", halves)])
    };
    assert!(asks(&halves(&x), &alone).is_some());
    assert_eq!(asks(&halves(""), &alone), None);
}

#[test]
fn no_paths_are_more_than_every_pattern() {
    let every = CARD.replace("/v1/charges/**", "/**");
    let none = CARD.replace("    paths: [/v1/charges/**]\n", "");
    let asked = asks(&every, &none).unwrap();
    let expected = "POST https://api.card.example on every path with secret card-key";
    assert!(asked.contains(expected), "{asked}");
    assert_eq!(asks(&none, &every), None);
}

#[test]
fn path_that_a_pattern_covers_is_not_asked_for() {
    let of = |path: &str| CARD.replace("/v1/charges/**", &format!("'{path}'"));
    for (before, after, grows) in [
        ("/a/{id}", "/a/x", false),
        ("/a/{id}/**", "/a/x/**", false),
        ("/a/{id}", "/a/{name}", false),
        ("/a/x", "/a/{id}", true),
        ("/a/{id}", "/a/x/y", true),
    ] {
        let asked = asks(&of(before), &of(after));
        assert_eq!(asked.is_some(), grows, "{before} {after}: {asked:?}");
    }
}

#[test]
fn network_of_parts_that_were_had_is_not_asked_for() {
    let of = |networks: &str| {
        CARD.replace(
            "    paths",
            &format!("    private: [{networks}]\n    paths"),
        )
    };
    for (before, after, grows) in [
        ("10.0.0.0/9, 10.128.0.0/9", "10.0.0.0/8", false),
        (
            "10.0.0.0/9, 10.128.0.0/10, 10.192.0.0/10",
            "10.0.0.0/8",
            false,
        ),
        ("10.0.0.0/8", "10.0.0.0/9, 10.128.0.0/9", false),
        ("10.0.0.0/9, 10.128.0.0/10", "10.0.0.0/8", true),
        ("'fd00::/9', 'fd80::/9'", "'fd00::/8'", false),
    ] {
        let asked = asks(&of(before), &of(after));
        assert_eq!(asked.is_some(), grows, "{before} {after}: {asked:?}");
    }
    // Halves of which each is for another service come to nothing.
    let two = |first: &str, second: &str| {
        format!(
            "outbound:\n  - {{to: 'https://a.example', private: [{first}]}}\n  - {{to: \
             'https://b.example', private: [{second}]}}\n"
        )
    };
    let halves = two("10.0.0.0/9", "10.128.0.0/9");
    assert!(asks(&halves, &two("10.0.0.0/8", "10.128.0.0/9")).is_some());
}

#[test]
fn authority_is_named_and_not_asked_for_where_it_is_taken_away() {
    let with_ca = CARD.replace("    paths", "    ca: my.pem\n    paths");
    let asked = asks(CARD, &with_ca).unwrap();
    assert!(
        asked.contains("with secret card-key, trusting my.pem"),
        "{asked}"
    );
    assert_eq!(asks(&with_ca, CARD), None);
    assert!(asks(&with_ca, &with_ca.replace("my.pem", "other.pem")).is_some());
}

#[test]
fn wildcards_cover_what_is_below_them() {
    let to = |host: &str| format!("outbound: [{{to: 'https://{host}'}}]\n");
    let below = to("*.card.example");
    assert_eq!(asks(&below, &to("api.card.example")), None);
    assert_eq!(asks(&below, &to("*.api.card.example")), None);
    assert!(asks(&below, &to("card.example")).is_some());
    assert!(asks(&to("api.card.example"), &below).is_some());
}

#[test]
fn call_as_the_user_is_more_than_one_without() {
    let alone = "calls: [{window: docs, as: self}]\n";
    let for_user = "calls: [docs]\n";
    assert_eq!(asks(for_user, alone), None);
    let asked = asks(alone, for_user).unwrap();
    assert!(asked.contains("call window docs for the user"), "{asked}");
}

#[test]
fn grant_without_its_import_is_no_ability_and_import_without_a_grant_a_note() {
    let imports = ["wasi:keyvalue/store@0.2.0-draft2".to_owned()];
    let able = abilities(&imports, &granted(CARD));
    assert_eq!(able.len(), 1, "{able:?}");
    assert_eq!(able[0].may, "use its store");
    let notes = |imports: &[&str], text: &str| {
        let imports: Vec<String> = imports.iter().map(|name| name.to_string()).collect();
        ungranted(&imports, &granted(text))
    };
    assert_eq!(
        notes(&["wasi:http/client@0.3.0"], ""),
        ["imports wasi:http/client, which is not granted: its calls are refused"]
    );
    assert!(notes(&["wasi:http/client@0.3.0"], CARD).is_empty());
    let sockets = ["wasi:sockets/tcp@0.2.0", "wasi:sockets/udp@0.2.0"];
    assert_eq!(notes(&sockets, CARD).len(), 1);
}

#[test]
fn transactions_are_the_store_and_events() {
    let imports =
        |names: &[&str]| -> Vec<String> { names.iter().map(|it| it.to_string()).collect() };
    let kept = imports(&["wasi:keyvalue/store@0.2.0-draft2"]);
    let both = imports(&[
        "hms:store/transactions@0.1.0",
        "wasi:keyvalue/store@0.2.0-draft2",
    ]);
    let [kept, both, alone] =
        [&kept[..], &both, &both[..1]].map(|imports| abilities(imports, &granted("")));
    let asked = "release 8 imports hms:store/transactions: it may now emit events";
    assert_eq!(sentence(8, &gained(&kept, &both)).as_deref(), Some(asked));
    assert!(gained(&both, &alone).is_empty());
    let may: Vec<&str> = alone.iter().map(|ability| ability.may.as_str()).collect();
    assert_eq!(may, ["use its store", "emit events"]);
}

#[test]
fn revealed_secret_is_an_ability_of_what_reads_settings() {
    let text = "secrets: {smtp: {file: s}}\nreveal: [smtp]\n";
    let imports = ["spin:variables/variables@3.0.0".to_owned()];
    let able = abilities(&imports, &granted(text));
    assert_eq!(able[0].may, "read secret smtp (windows/payments.yaml:2)");
    assert!(abilities(&http(), &granted(text)).is_empty());
}

#[test]
fn plain_sentences_say_everything_and_no_value() {
    let text = format!(
        "{CARD}calls: [docs]\ninternal: true\nconfig: {{currency: EUR}}\nenv: {{LOG_LEVEL: \
         info}}\nreveal: [other]\nlimits: {{memory: 64MiB}}\n"
    );
    let said = plain(&granted(&text)).join("\n");
    for part in [
        "may POST https://api.card.example/v1/charges/** with secret card-key",
        "may call window docs for the user (windows/payments.yaml:7)",
        "may read secret other",
        "reads config currency",
        "has the environment LOG_LEVEL",
        "has the limit memory 64MiB",
        "is internal",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("EUR"), "{said}");
}

#[test]
fn clauses_of_a_sentence_are_parted_by_commas() {
    let text = CARD.replace(
        "    paths",
        "    ca: my.pem\n    private: [10.0.0.0/8, 172.16.0.0/12]\n    timeout: 2s\n    at-once: \
         4\n    paths",
    );
    let granted = granted(&text);
    let may = "POST https://api.card.example/v1/charges/** with secret card-key, trusting my.pem, \
               also in 10.0.0.0/8 and 172.16.0.0/12";
    let at = "(windows/payments.yaml:2)";
    assert_eq!(abilities(&http(), &granted)[0].may, format!("{may} {at}"));
    assert_eq!(
        plain(&granted)[0],
        format!("may {may}, within 2s, 4 at once {at}")
    );
}

#[test]
fn secret_that_nothing_uses_is_found_with_its_line() {
    let unused = unused_secrets(&granted(CARD));
    assert_eq!(unused, [("other".to_owned(), 6)]);
}

#[test]
fn revealed_secret_from_another_file_is_asked_for() {
    let file = |path: &str| format!("secrets: {{s: {{file: {path}}}}}\nreveal: [s]\n");
    let settings = ["wasi:config/store@0.2.0-rc.1".to_owned()];
    let [before, after] = ["a", "b"].map(|path| abilities(&settings, &granted(&file(path))));
    assert_eq!(gained(&before, &before), []);
    let asked = sentence(2, &gained(&before, &after)).unwrap();
    assert!(
        asked.ends_with("it may now read secret s (windows/payments.yaml:2)"),
        "{asked}"
    );
}

#[test]
fn entry_that_is_reached_once_an_earlier_one_is_gone_is_asked_for() {
    let first = "outbound:\n  - {to: \"https://a.example\", paths: [/x/**]}\n";
    let second = "  - {to: \"https://a.example\", paths: [/x/**], private: [10.0.0.0/8]}\n";
    let both = format!("{first}{second}");
    let alone = format!("outbound:\n{second}");
    assert!(asks(&both, &alone).is_some());
    assert_eq!(asks(&alone, &both), None);
}

#[test]
fn entry_that_earlier_ones_cover_is_shadowed() {
    let lines = |entries: &[&str]| {
        let text = format!("outbound:\n  - {{{}}}\n", entries.join("}\n  - {"));
        let granted = granted(&text);
        let lines = shadowed(&granted).into_iter().map(|entry| entry.line);
        lines.collect::<Vec<_>>()
    };
    let all = "to: 'https://*.a.example'";
    let one = "to: https://b.a.example, methods: [GET], paths: [/v1/**]";
    let post = "to: https://b.a.example, methods: [GET, POST], paths: [/v1/**]";
    assert_eq!(lines(&[all, one]), [3]);
    assert_eq!(lines(&[one, all]), [0; 0]);
    assert_eq!(lines(&[all, post]), [0; 0]);
    // Several may cover it together.
    let posts = "to: https://b.a.example, methods: [POST]";
    assert_eq!(lines(&[all, posts, post]), [4]);
    // An entry without paths is for more than every pattern.
    let patterns = "to: 'https://*.a.example', paths: [/**]";
    assert_eq!(lines(&[patterns, all]), [0; 0]);
}

const SMS: &str = "outbound: [{to: https://sms.example, methods: [POST]}]\n";

/// What is asked where these subscriptions are written instead of those, by a release that imports
/// nothing.
fn asks_of_events(before: &str, after: &str) -> Option<String> {
    let [before, after] = [before, after].map(|text| abilities(&[], &granted(text)));
    sentence(8, &gained(&before, &after))
}

#[test]
fn events_of_another_window_are_asked_for_whatever_is_imported() {
    let paid = "subscriptions:\n  paid: {from: [docs, payments, audit], to: /events}\n";
    let expected = "it now receives events of docs and audit (windows/payments.yaml:2)";
    assert_eq!(asks_of_events("", paid).as_deref(), Some(expected));
    let own = "subscriptions: {timers: {from: [payments], to: /timers}}\n";
    assert_eq!(asks_of_events("", own), None);
    // With what an import asks for, in one sentence.
    let both = format!("{CARD}{paid}");
    let asked = asks("", &both).unwrap();
    assert!(
        asked.ends_with("; it now receives events of docs and audit (windows/payments.yaml:8)"),
        "{asked}"
    );
}

#[test]
fn events_that_leave_are_asked_for_with_their_place() {
    let leave =
        format!("{SMS}subscriptions: {{s: {{from: [payments], to: 'https://sms.example/v1'}}}}\n");
    let expected =
        "it now has events of payments sent to https://sms.example/v1 (windows/payments.yaml:2)";
    assert_eq!(asks_of_events(SMS, &leave).as_deref(), Some(expected));
    let elsewhere = leave.replace("/v1", "/v2");
    assert!(asks_of_events(&leave, &elsewhere).is_some());
}

#[test]
fn fewer_events_are_not_asked_for_and_others_are() {
    let of = |filters: &str| {
        format!("subscriptions: {{s: {{from: [docs], to: /e, filters: [{filters}]}}}}\n")
    };
    let all = "subscriptions: {renamed: {from: [docs, audit], to: /other}}\n";
    let one = of("{exact: {type: a}}");
    let narrower = of("{exact: {type: a}}, {prefix: {subject: b}}");
    let other = of("{exact: {type: b}}");
    for (before, after) in [(all, &one), (&one, &narrower), (all, &narrower)] {
        assert_eq!(asks_of_events(before, after), None, "{after}");
    }
    // Those of the host are left out where no filter names them.
    let hosts = of("{prefix: {type: hms.}}");
    for (before, after) in [
        (&*one, all),
        (&narrower, &one),
        (&one, &other),
        (all, &hosts),
    ] {
        assert!(asks_of_events(before, after).is_some(), "{after}");
    }
}

#[test]
fn subscriptions_and_schedules_are_said_plainly() {
    let text = format!(
        "{SMS}subscriptions:\n  paid: {{from: [docs], to: /events, filters: [{{exact: {{type: a}}}}]}}\n  \
         sms: {{from: [payments], to: 'https://sms.example/v1'}}\nschedules:\n  nightly: {{cron: \
         '0 2 * * *', time-zone: Europe/Berlin, to: /jobs}}\n"
    );
    let said = plain(&granted(&text));
    assert_eq!(
        said[1..],
        [
            "receives some events of docs at /events: subscription paid (windows/payments.yaml:3)",
            "has events of payments sent to https://sms.example/v1: subscription sms \
             (windows/payments.yaml:4)",
            "is asked at /jobs by the clock (0 2 * * *, Europe/Berlin): schedule nightly \
             (windows/payments.yaml:6)",
        ]
    );
}
