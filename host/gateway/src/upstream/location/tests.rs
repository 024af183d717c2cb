use super::*;
use http::Request;
use proptest::prelude::*;

fn route(fields: &str) -> Route {
    Route::parse("test", fields).unwrap_or_else(|faults| panic!("{fields}: {faults:?}"))
}

fn target() -> Target {
    let request = Request::builder()
        .uri("/app/x")
        .header("host", "example.org");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Target::read(&parts, 8192).unwrap()
}

/// What becomes of one field.
fn rewritten(route: &Route, name: header::HeaderName, value: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(name.clone(), HeaderValue::try_from(value).unwrap());
    rewrite(&mut headers, route, &target(), &Asked::default());
    String::from_utf8(headers[&name].as_bytes().to_vec()).unwrap()
}

const SERVICE: &str = "uri: /app/**\nstrip-prefix: /app\nupstream: http://10.0.0.1:8080\n";

#[test]
fn reference_to_the_upstream_is_rewritten_behind_the_stripped_prefix() {
    let route = route(SERVICE);
    for (said, expected) in [
        ("/x?y=/z#f", "/app/x?y=/z#f"),
        ("/", "/app/"),
        ("/é", "/app/é"),
        ("http://10.0.0.1:8080/x", "/app/x"),
        ("HTTP://10.0.0.1:8080", "/app/"),
        ("http://10.0.0.1:8080?y", "/app/?y"),
        ("http://10.0.0.1:8080//evil.example/", "/app//evil.example/"),
        // The upstream knows of the prefix.
        ("/app/x", "/app/x"),
        ("/app", "/app"),
        ("http://10.0.0.1:8080/app/x", "/app/x"),
        ("/application", "/app/application"),
    ] {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            assert_eq!(rewritten(&route, name, said), expected, "{said}");
        }
    }
}

#[test]
fn foreign_and_relative_references_are_unchanged() {
    let route = route(SERVICE);
    for said in [
        "x",
        "../x",
        "?y",
        "#f",
        "",
        "//10.0.0.1:8080/x",
        "//evil.example/x",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/x y",
        "https://evil.example/x",
        "https://10.0.0.1:8080/x",
        "http://10.0.0.1/x",
        "http://10.0.0.1:8080.evil.example/x",
        "http://10.0.0.1:8080@evil.example/x",
        "http://user@10.0.0.1:8080/x",
        "ftp://10.0.0.1:8080/x",
        "javascript://10.0.0.1:8080/%0aalert(1)",
        // The service was not asked by this name.
        "http://example.org/x",
    ] {
        assert_eq!(rewritten(&route, header::LOCATION, said), said);
    }
}

#[test]
fn upstream_base_path_is_removed_and_no_reference_becomes_a_host() {
    let at_base = route("uri: /**\nupstream: https://legacy.example:443/base\n");
    for (said, expected) in [
        ("/base/x", "/x"),
        ("/base", "/"),
        ("/base?y", "/?y"),
        ("https://LEGACY.example/base/x", "/x"),
        ("/based", "/based"),
        ("/other", "/other"),
        ("/base//evil.example", "/base//evil.example"),
        (
            "https://legacy.example/base//evil",
            "https://legacy.example/base//evil",
        ),
        (
            "https://legacy.example/other",
            "https://legacy.example/other",
        ),
        (
            "http://legacy.example/base/x",
            "http://legacy.example/base/x",
        ),
    ] {
        assert_eq!(
            rewritten(&at_base, header::LOCATION, said),
            expected,
            "{said}"
        );
    }
    let plain = route("uri: /**\nupstream: http://10.0.0.1\n");
    let evil = "http://10.0.0.1//evil.example/";
    assert_eq!(rewritten(&plain, header::LOCATION, evil), evil);
    assert_eq!(
        rewritten(&plain, header::LOCATION, "http://10.0.0.1:80/x"),
        "/x"
    );
}

#[test]
fn upstream_asked_under_the_host_of_the_client_may_use_that_host() {
    let window = "uri: /app/**\nstrip-prefix: /app\nupstream: http://hms-svc-a\n";
    for text in [&format!("{SERVICE}host: pass\n"), window] {
        let route = route(text);
        for (said, expected) in [
            ("/x", "/app/x"),
            ("https://example.org/x", "https://example.org/app/x"),
            ("http://EXAMPLE.org:80/x", "http://EXAMPLE.org:80/app/x"),
            ("http://example.org:8080/x", "http://example.org:8080/x"),
            ("https://www.example.org/x", "https://www.example.org/x"),
            ("https://example.org/app/x", "https://example.org/app/x"),
        ] {
            assert_eq!(
                rewritten(&route, header::LOCATION, said),
                expected,
                "{said}"
            );
        }
    }
    let internal = "http://hms-svc-a:8080/x";
    assert_eq!(
        rewritten(&route(window), header::LOCATION, internal),
        "/app/x"
    );
}

#[test]
fn route_can_switch_rewriting_off() {
    let route = route(&format!("{SERVICE}rewrite-location: false\n"));
    for (name, said) in [
        (header::LOCATION, "/x"),
        (header::CONTENT_LOCATION, "http://10.0.0.1:8080/x"),
        (header::SET_COOKIE, "a=1; Path=/; Domain=10.0.0.1"),
    ] {
        assert_eq!(rewritten(&route, name, said), said);
    }
}

#[test]
fn cookie_paths_and_domains_are_rewritten_for_the_client() {
    let named = "uri: /app/**\nstrip-prefix: /app\nupstream: http://a.corp.example/base\n";
    let (prefix, named) = (route(SERVICE), route(named));
    for (route, said, expected) in [
        (&prefix, "a=1; Path=/; HttpOnly", "a=1; Path=/app; HttpOnly"),
        (&prefix, "a=1;path=/x/", "a=1; Path=/app/x/"),
        (&prefix, "a=1; Path=/app/x", "a=1; Path=/app/x"),
        (&prefix, "a=1; Secure", "a=1; Secure"),
        (&prefix, "a=/x; Path=", "a=/x; Path="),
        (&prefix, "a=1; Path=/\\x", "a=1; Path=/\\x"),
        (&prefix, "Path=/x", "Path=/x"),
        (
            &prefix,
            "__Host-a=1; Path=/; Secure",
            "__Host-a=1; Path=/; Secure",
        ),
        (&prefix, "a=1; Domain=10.0.0.1; Secure", "a=1; Secure"),
        (
            &prefix,
            "a=1; Domain=example.org",
            "a=1; Domain=example.org",
        ),
        (&named, "a=1; Path=/base/x", "a=1; Path=/app/x"),
        (&named, "a=1; Path=/base/", "a=1; Path=/app"),
        (&named, "a=1; Path=/", "a=1; Path=/app"),
        (&named, "a=1; Path=/other", "a=1; Path=/other"),
        (&named, "a=1; Domain=.CORP.example", "a=1"),
        (&named, "a=1; Domain=rp.example", "a=1; Domain=rp.example"),
        (
            &named,
            "a=1; Domain=evil.example",
            "a=1; Domain=evil.example",
        ),
    ] {
        assert_eq!(
            rewritten(route, header::SET_COOKIE, said),
            expected,
            "{said}"
        );
    }
}

#[test]
fn cookies_keep_their_order_and_number() {
    let mut headers = HeaderMap::new();
    for cookie in ["a=1; Path=/x", "b=2", "c=3; Path=/y"] {
        headers.append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
    rewrite(&mut headers, &route(SERVICE), &target(), &Asked::default());
    let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; Path=/app/x", "b=2", "c=3; Path=/app/y"]);
}

proptest! {
    /// Whatever an upstream says, rewriting makes no other host of it.
    #[test]
    fn rewritten_reference_leads_to_no_other_host(
        // Pieces of which the dangerous ones are made.
        said in "(http://10.0.0.1(:8080)?|https://example.org|/base|/app|/|//|\\\\|\t|evil.example|@|\\?|#|[a-z]|é){0,8}",
        fields in prop::sample::select(vec![
            SERVICE,
            "uri: /**\nupstream: http://10.0.0.1:8080/base\n",
            "uri: /**\nupstream: http://10.0.0.1:8080\nhost: pass\n",
            "uri: /app/**\nstrip-prefix: /app\nupstream: http://hms-svc-a\n",
        ]),
    ) {
        let Ok(value) = HeaderValue::try_from(&said) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, value.clone());
        headers.insert(header::SET_COOKIE, value.clone());
        rewrite(&mut headers, &route(fields), &target(), &Asked::default());
        if headers[header::LOCATION] != value {
            let new = String::from_utf8(headers[header::LOCATION].as_bytes().to_vec()).unwrap();
            let path = new.strip_prefix("https://example.org").unwrap_or(&new);
            prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{said} -> {new}");
            prop_assert!(!new.contains(['\\', '\t']), "{said} -> {new}");
        }
    }
}
