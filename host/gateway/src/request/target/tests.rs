use super::*;
use hms_core::path::normalise;
use http::Request;
use proptest::prelude::*;

fn read(request: http::request::Builder) -> Result<Target, Rejection> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Target::read(&parts, 8192)
}

fn get(uri: &str) -> http::request::Builder {
    Request::builder().uri(uri).header("host", "a.example")
}

#[test]
fn path_is_normalised_to_one_form() {
    for (raw, expected) in [
        ("/", "/"),
        ("/api/v1/payments", "/api/v1/payments"),
        ("/api/v1/payments/", "/api/v1/payments/"),
        ("/api/v1/%70ayments", "/api/v1/payments"),
        ("/a%2db%7e", "/a-b~"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a|b[c]{d}", "/a%7Cb%5Bc%5D%7Bd%7D"),
        ("/%252e%252e", "/%252e%252e"),
        ("/a/...", "/a/..."),
        ("/a;p=1/b", "/a;p=1/b"),
    ] {
        assert_eq!(normalise(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn ambiguous_path_is_rejected() {
    for raw in [
        "",
        "a",
        "*",
        "//",
        "/a//b",
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/%2e%2e/b",
        "/a/.%2E",
        "/..;/b",
        "/..;x=1",
        "/..%3bx",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%00",
        "/a%0d%0a",
        "/a%7f",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%+1",
        "/a b",
        "/é",
        "/a\u{7f}",
        "/a#b",
        "/a?b",
    ] {
        assert!(normalise(raw).is_err(), "{raw}");
    }
}

#[test]
fn unusual_path_is_left_to_its_route() {
    let odd = |encoded_slashes, empty_segments| Oddities {
        encoded_slashes,
        empty_segments,
    };
    for (raw, path, found) in [
        ("/a/b", "/a/b", odd(false, false)),
        ("/a%2fb", "/a%2Fb", odd(true, false)),
        ("/a//b///", "/a//b///", odd(false, true)),
        ("/a%2F%2f//b", "/a%2F%2F//b", odd(true, true)),
        ("/a%252Fb", "/a%252Fb", odd(false, false)),
    ] {
        assert_eq!(read_path(raw), Ok((path.to_string(), found)), "{raw}");
        let nothing = found == Oddities::default();
        assert_eq!(found.within(Oddities::default()).is_ok(), nothing, "{raw}");
        assert!(found.within(odd(true, true)).is_ok(), "{raw}");
    }
    for raw in [
        "//a",
        "/a%5Cb",
        "/a%2F..%2Fb",
        "/a%2f%2e",
        "/%2E%2e%2Fb",
        "/a%2F..;x",
        "/..%3Bx%2Fa",
        "/a//..",
    ] {
        assert!(read_path(raw).is_err(), "{raw}");
    }
    let readings = |raw| read(get(raw)).unwrap().other_readings();
    assert_eq!(readings("/a/b"), [""; 0]);
    assert_eq!(readings("/a%2Fb"), ["/a/b"]);
    assert_eq!(readings("/a//b"), ["/a/b"]);
    assert_eq!(readings("/a%2F/b"), ["/a/b", "/a//b"]);
    assert_eq!(readings("/a//b%2Fc"), ["/a/b%2Fc", "/a/b/c", "/a//b/c"]);
}

#[test]
fn host_must_be_given_once_and_agree_with_the_target() {
    assert!(read(Request::builder().uri("/")).is_err());
    assert!(read(get("/").header("host", "b.example")).is_err());
    assert!(read(get("/").header("host", "a.example")).is_err());
    assert!(read(Request::builder().uri("/").header("host", "user@a.example")).is_err());
    assert!(read(Request::builder().uri("/").header("host", "a/b")).is_err());
    assert!(read(Request::builder().uri("/").header("host", "")).is_err());
    assert!(read(get("http://b.example/")).is_err());
    assert!(read(get("ftp://a.example/")).is_err());
    assert!(read(get("a.example:80")).is_err());
    assert!(read(Request::builder().version(Version::HTTP_2).uri("/")).is_err());
    assert!(read(Request::builder().version(Version::HTTP_10).uri("/")).is_ok());
    let target = read(get("http://A.example/x?y=1")).unwrap();
    assert_eq!((target.path(), target.query()), ("/x", Some("y=1")));
    assert_eq!(target.authority().unwrap().host(), "A.example");
}

#[test]
fn proxy_methods_and_a_stray_asterisk_are_rejected() {
    assert!(read(get("/").method("CONNECT")).is_err());
    assert!(read(get("/").method("TRACE")).is_err());
    assert!(read(get("*")).is_err());
    assert_eq!(read(get("*").method("OPTIONS")).unwrap().path(), "*");
}

#[test]
fn long_target_is_414() {
    let long = format!("/{}?{}", "a".repeat(4096), "b".repeat(4096));
    assert!(matches!(
        read(get(&long)),
        Err(Rejection::TargetTooLong { limit: 8192 })
    ));
}

proptest! {
    #[test]
    fn accepted_path_has_no_second_reading(
        raw in "/([a-z%.;/\\\\]|%2[eEfF]|%5[cC]|%00|\\.\\./|\\PC){0,12}"
    ) {
        if let Ok(path) = normalise(&raw) {
            prop_assert!(path.starts_with('/') && path.is_ascii());
            prop_assert!(!path.contains("//") && !path.contains('\\'));
            let lower = path.to_ascii_lowercase();
            prop_assert!(!lower.contains("%2f") && !lower.contains("%5c") && !lower.contains("%2e"));
            prop_assert!(!lower.contains("%00"));
            for segment in path.split('/') {
                prop_assert!(segment != "." && segment != ".." && !segment.starts_with("..;"));
            }
            prop_assert_eq!(normalise(&path), Ok(path.clone()), "the form is final");
            prop_assert!(path.parse::<http::uri::PathAndQuery>().is_ok());
        }
    }

    #[test]
    fn path_parser_never_panics(raw in "\\PC*") {
        let _ = normalise(&raw);
    }
}
