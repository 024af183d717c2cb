use super::*;
use http::HeaderValue;
use proptest::prelude::*;

const XFF: &str = "x-forwarded-for";

fn trusted() -> [IpNet; 2] {
    [
        "10.0.0.0/8".parse().unwrap(),
        "2001:db8::/32".parse().unwrap(),
    ]
}

/// Fields by their bytes, as a client may send them.
fn headers<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        headers.append(HeaderName::try_from(*name).unwrap(), value);
    }
    headers
}

fn origin<V: AsRef<[u8]>>(
    peer: &str,
    fields: &[(&str, V)],
) -> Result<(String, &'static str), Rejection> {
    let peer = Origin {
        client: peer.parse().unwrap(),
        secure: false,
        client_unknown: false,
    };
    let origin = peer.of(&headers(fields), &trusted())?;
    Ok((origin.client.to_string(), origin.scheme()))
}

#[test]
fn only_a_trusted_proxy_is_believed_and_of_a_list_only_its_end() {
    for (peer, fields, client) in [
        ("192.0.2.9", &[(XFF, "198.51.100.1")][..], "192.0.2.9"),
        ("10.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
        (
            "10.0.0.1",
            &[(XFF, "6.6.6.6, 198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "6.6.6.6, 198.51.100.1, 10.0.0.2")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "6.6.6.6"), (XFF, "198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1, unknown, 10.0.0.2")],
            "10.0.0.2",
        ),
        (
            "10.0.0.1",
            &[(XFF, "198.51.100.1, nonsense, 10.0.0.2")],
            "10.0.0.2",
        ),
        ("10.0.0.1", &[(XFF, ", 198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(XFF, "6.6.6.6, unknown")], "10.0.0.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[(XFF, "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], "198.51.100.1"),
        (
            "10.0.0.1",
            &[(
                "forwarded",
                "for=6.6.6.6, for=\"[2001:db9::1]:80\";proto=https",
            )],
            "2001:db9::1",
        ),
        (
            "2001:db8::1",
            &[("forwarded", "For=198.51.100.1")],
            "198.51.100.1",
        ),
        (
            "10.0.0.1",
            &[("forwarded", "for=198.51.100.1"), (XFF, "198.51.100.1")],
            "198.51.100.1",
        ),
    ] {
        assert_eq!(origin(peer, fields).unwrap().0, client, "{peer} {fields:?}");
    }
}

#[test]
fn non_ascii_byte_hides_no_entry_of_a_proxy() {
    for (fields, client) in [
        (&[(XFF, &b"\xff, 198.51.100.1"[..])][..], "198.51.100.1"),
        (
            &[(XFF, b"10.9.8.7, \xff, 198.51.100.1, 10.0.0.2")],
            "198.51.100.1",
        ),
        (&[(XFF, b"10.9.8.7,\xff,10.0.0.2")], "10.0.0.2"),
        (&[(XFF, b"\xe9"), (XFF, b"198.51.100.1")], "198.51.100.1"),
    ] {
        assert_eq!(origin("10.0.0.1", fields).unwrap().0, client, "{fields:?}");
    }
}

#[test]
fn unreadable_statement_of_a_trusted_proxy_is_rejected() {
    let own = b"for=10.9.8.7";
    let many = ["10.0.0.2"; MAX_PROXIES + 1].join(",");
    for fields in [
        &[(XFF, &b"nonsense"[..])][..],
        &[(XFF, b"\xff")],
        &[(XFF, b"")],
        &[(XFF, b"10.9.8.7,")],
        &[(XFF, b"10.9.8.7, 198.51.100.1\xff")],
        &[(XFF, b"10.9.8.7"), (XFF, b"\xff")],
        &[(XFF, many.as_bytes())],
        // Which of the two fields the proxy wrote cannot be told.
        &[(XFF, b"198.51.100.2"), ("forwarded", b"for=198.51.100.1")],
        &[(XFF, b"\xff, 198.51.100.1"), ("forwarded", own)],
        &[(XFF, b"10.9.8.7, unknown"), ("forwarded", own)],
        &[
            (XFF, b"10.9.8.7"),
            ("forwarded", b"for=10.9.8.7, for=_hidden"),
        ],
        &[(XFF, b"198.51.100.1"), ("forwarded", b"")],
        &[("forwarded", b"for=10.9.8.7;host=\", for=198.51.100.1")],
        &[("forwarded", b"for=10.9.8.7, ")],
        &[("forwarded", b"for=10.9.8.7, \xff")],
        &[("forwarded", b"for=10.9.8.7, for=\"\xff\"")],
        &[("x-forwarded-proto", b"\xff")],
        &[("x-forwarded-proto", b"https,")],
        &[("x-forwarded-proto", b"gopher")],
        &[("forwarded", b"for=198.51.100.1;proto=gopher")],
        &[
            ("x-forwarded-proto", b"http"),
            ("forwarded", b"for=198.51.100.1;proto=https"),
        ],
    ] {
        let seen = origin("10.0.0.1", fields);
        assert!(
            matches!(seen, Err(Rejection::BadRequest(_))),
            "{fields:?}: {seen:?}"
        );
        // From anybody else nothing of it is looked at.
        assert_eq!(origin("192.0.2.9", fields).unwrap().0, "192.0.2.9");
    }
}

#[test]
fn scheme_is_believed_from_a_trusted_proxy_only() {
    let proto = |fields: &[(&str, &str)]| origin("10.0.0.1", fields).unwrap().1;
    assert_eq!(proto(&[("x-forwarded-proto", "https")]), "https");
    assert_eq!(proto(&[("x-forwarded-proto", "http, WSS")]), "https");
    assert_eq!(proto(&[("forwarded", "for=1.2.3.4;proto=https")]), "https");
    assert_eq!(proto(&[("forwarded", "for=1.2.3.4;proto=ws")]), "http");
    // How the client came, not how the outer proxy did.
    let chain = "for=6.6.6.6;proto=http, for=1.2.3.4;proto=https, for=10.0.0.2;proto=http";
    assert_eq!(proto(&[("forwarded", chain)]), "https");
    let direct = [("x-forwarded-proto", "https")];
    assert_eq!(origin("192.0.2.9", &direct).unwrap().1, "http");
}

#[test]
fn client_unnamed_by_the_proxy_protocol_is_not_named_by_fields() {
    let connection = Origin {
        client: "10.0.0.1".parse().unwrap(),
        secure: false,
        client_unknown: true,
    };
    let fields = headers(&[(XFF, "10.9.8.7"), ("x-forwarded-proto", "https")]);
    assert_eq!(connection.of(&fields, &trusted()).unwrap(), connection);
}

/// What a client may send as a value, each character one byte; often close to what a proxy writes.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "10.9.8.7",
        "for=10.9.8.7",
        "for=",
        "unknown",
        ";host=\"",
        "\"",
        "\\",
        ",",
        ", ",
        ";",
        "=",
        "\u{ff}",
        "\u{80}",
        " ",
        "\t",
        "[",
        "]",
        "proto=https",
        "for=\"10.9.8.7\"",
        "_x",
    ]);
    let text = prop_oneof![pieces.prop_map(str::to_owned), "[\\t -~\u{80}-\u{ff}]{0,6}"];
    let bytes = |texts: Vec<String>| texts.concat().chars().map(|c| c as u8).collect();
    prop::collection::vec(text, 0..8).prop_map(bytes)
}

/// A quoted-string.
fn quoted(text: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        _ => vec![*byte],
    };
    [
        b"\"".to_vec(),
        text.iter().flat_map(escape).collect(),
        b"\"".to_vec(),
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A client writes what it likes into both fields; each proxy adds what it saw to the one that
    /// it knows, on the client's line or on one of its own. The client is never anybody else.
    #[test]
    fn client_cannot_pass_for_another_address(
        (listed, told) in (prop::option::of(junk()), prop::option::of(junk())),
        by_element: bool,
        quotes: bool,
        host in junk(),
        proxies in prop::collection::vec(2u8..9, 0..4),
        joined: bool,
    ) {
        let field = if by_element { "forwarded" } else { XFF };
        let mut lines: Vec<(&str, Vec<u8>)> = Vec::new();
        lines.extend(listed.map(|value| (XFF, value)));
        lines.extend(told.map(|value| ("forwarded", value)));
        let client = String::from("198.51.100.1");
        for seen in std::iter::once(client).chain(proxies.iter().map(|n| format!("10.0.0.{n}"))) {
            let entry = match by_element {
                false => seen.into_bytes(),
                true if quotes => {
                    let (seen, host) = (quoted(seen.as_bytes()), quoted(&host));
                    [b"for=", &seen[..], b";host=", &host].concat()
                }
                true => [b"for=", seen.as_bytes(), b";proto=http"].concat(),
            };
            match lines.iter_mut().rev().find(|(name, _)| *name == field) {
                Some((_, line)) if joined => line.extend([b", ", &entry[..]].concat()),
                _ => lines.push((field, entry)),
            }
        }
        match origin("10.0.0.1", &lines) {
            Ok((client, _)) => prop_assert_eq!(client, "198.51.100.1"),
            Err(Rejection::BadRequest(_)) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn proxy_header_names_the_client_or_the_proxy_itself_or_nobody() {
    let proxy = Origin {
        client: "10.0.0.1".parse().unwrap(),
        secure: false,
        client_unknown: false,
    };
    let named = |address: Option<&str>, secure| ProxyHeader::Client {
        address: address.map(|address| address.parse().unwrap()),
        secure,
    };
    for (header, client, secure, client_unknown) in [
        (ProxyHeader::Own, "10.0.0.1", false, false),
        (named(Some("192.0.2.7"), false), "192.0.2.7", false, false),
        (named(Some("192.0.2.7"), true), "192.0.2.7", true, false),
        (named(None, false), "10.0.0.1", false, true),
        (named(None, true), "10.0.0.1", true, true),
    ] {
        let expected = Origin {
            client: client.parse().unwrap(),
            secure,
            client_unknown,
        };
        assert_eq!(proxy.behind(header), expected, "{header:?}");
    }
    let by_tls = Origin {
        secure: true,
        ..proxy
    };
    assert!(by_tls.behind(named(None, false)).secure);
}
