use super::*;
use crate::plugins::auth::{ApiKeys, strip_keys};
use hms_core::headers::{CLAIMS, OURS};

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    map
}

#[test]
fn identity_header_is_removed_in_any_spelling() {
    let mut map = headers(&[
        ("x-hms-user", "mallory"),
        ("X-HMS-User", "mallory"),
        ("x_hms_user", "mallory"),
        ("X.Hms.Scopes", "admin"),
        ("x-hms_user", "mallory"),
        ("x-hms-window", "payments"),
        ("X_HMS_Window", "payments"),
        ("x-hms-anything", "1"),
        ("x~hms~user", "mallory"),
        ("x-hms", "1"),
        ("x-hmsx", "kept"),
    ]);
    clean_request(&mut map);
    assert_eq!(map, headers(&[("x-hmsx", "kept")]));
}

#[test]
fn hop_by_hop_fields_and_those_named_by_connection_are_removed() {
    let mut map = headers(&[
        ("connection", "x-one, X-Two"),
        ("connection", "close"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("trailer", "x-hms-user"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    clean_request(&mut map);
    assert_eq!(map, headers(&[("accept", "*/*")]));
}

#[test]
fn non_ascii_byte_keeps_no_hop_by_hop_field() {
    let line = |bytes| HeaderValue::from_bytes(bytes).unwrap();
    let mut map = headers(&[("x-one", "1"), ("x-two", "2"), ("accept", "*/*")]);
    map.append("connection", line(b"\xff, x-one"));
    map.append("connection", line(b"X-Two , \xe9"));
    clean_request(&mut map);
    assert_eq!(map, headers(&[("accept", "*/*")]));
}

#[test]
fn forwarded_headers_of_the_client_are_dropped() {
    let mut map = headers(&[
        ("x-forwarded-for", "1.2.3.4"),
        ("X_Forwarded_Host", "evil"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x_request_id", "spoofed"),
        ("x-request-id", "kept"),
    ]);
    clean_request(&mut map);
    assert_eq!(map, headers(&[("x-request-id", "kept")]));
}

#[test]
fn split_cookie_becomes_one_field() {
    let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
    clean_request(&mut map);
    assert_eq!(map, headers(&[("cookie", "a=1; b=2")]));
}

#[test]
fn credentials_are_withheld_from_a_window_and_restored_for_a_service() {
    let mut map = headers(&[
        ("authorization", "Bearer a"),
        ("x-api-key", "b"),
        ("X_Api_Key", "c"),
        ("accept", "*/*"),
    ]);
    let whole = map.clone();
    let shown = credentials(&map);
    drop_credentials(&mut map);
    assert_eq!(map, headers(&[("accept", "*/*")]));
    map.insert(API_KEY, "a middleware's".parse().unwrap());
    give_back(&mut map, &shown);
    assert_eq!(map, whole);
    // What the client did not send may be the middleware's.
    let mut map = headers(&[("authorization", "Bearer own")]);
    give_back(&mut map, &headers(&[("x-api-key", "b")]));
    assert_eq!(
        map,
        headers(&[("authorization", "Bearer own"), ("x-api-key", "b")])
    );
}

#[test]
fn response_claims_no_identity() {
    let mut map = headers(&[
        ("x-hms-user", "a"),
        ("connection", "close"),
        ("etag", "\"1\""),
    ]);
    clean_response(&mut map, "id-1");
    assert_eq!(map, headers(&[("etag", "\"1\""), ("x-request-id", "id-1")]));
}

/// What a client sends reaches a window, a service, or nobody, as the table in docs/identity.md
/// says.
#[test]
fn documented_table_of_identity_fields_holds() {
    let page = include_str!("../../../../../docs/identity.md");
    let (_, section) = page
        .split_once("## Fields that say who somebody is")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() > 8, "{rows:?}");
    let key = ApiKeys::in_memory().add("robot", &[], None).unwrap().1;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [fields, _, window, service] = cells[..] else {
            panic!("{row}");
        };
        for field in fields.split('`').skip(1).step_by(2) {
            let (name, value) = field.split_once(": ").unwrap_or((field, "1"));
            let (name, value) = (name.replace('*', "x"), value.replace("KEY", &key));
            let passed = |to_window: bool| {
                let mut map = headers(&[(name.as_str(), value.as_str()), ("accept", "*/*")]);
                clean_request(&mut map);
                strip_keys(&mut map);
                if to_window {
                    drop_credentials(&mut map);
                }
                assert!(map.contains_key("accept"), "{field}");
                match map.get(&name) {
                    Some(passed) if passed == value.as_str() => "as sent",
                    Some(other) => panic!("{field}: {other:?}"),
                    None => "never",
                }
            };
            assert_eq!((passed(true), passed(false)), (window, service), "{field}");
        }
    }
    for known in CLAIMS
        .iter()
        .flat_map(|(_, known)| known.iter())
        .chain(&OURS)
    {
        assert!(section.contains(known), "{known} is not in the table");
    }
}

#[test]
fn own_cookies_pass_in_neither_direction_and_others_do() {
    for (sent, passed) in [
        (&["a=1; hms-admin=x; b=2"][..], Some("a=1; b=2")),
        (&["hms-admin=x"], None),
        (&["hms_admin_9001=x; a=1"], Some("a=1")),
        (&["HMS-Admin=x; a=1"], Some("a=1")),
        (&["__Host-hms-admin=x", "a=1;__Secure-hms-x"], Some("a=1")),
        (&["a=1", "b=2"], Some("a=1; b=2")),
        (&["a=hms-1;  b"], Some("a=hms-1;  b")),
        (&["hmsx=1"], Some("hmsx=1")),
        (
            &["\u{e9}=1; hms-admin=x; b=\u{e9}"],
            Some("\u{e9}=1; b=\u{e9}"),
        ),
    ] {
        let fields: Vec<(&str, &str)> = sent.iter().map(|line| ("cookie", *line)).collect();
        let mut map = headers(&fields);
        clean_request(&mut map);
        let expected: Vec<(&str, &str)> = passed.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(map, headers(&expected), "{sent:?}");
    }
    let mut map = headers(&[
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "hms-admin=forged; Path=/"),
        ("set-cookie", " __Host-hms-admin=forged"),
        ("set-cookie", "b=2"),
    ]);
    clean_response(&mut map, "id-1");
    let expected = [
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
        ("x-request-id", "id-1"),
    ];
    assert_eq!(map, headers(&expected));
}
