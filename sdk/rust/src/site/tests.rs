use super::*;
use http::HeaderMap;

const FILES: &[File] = &[
    File::new(
        "404.html",
        "text/html; charset=utf-8",
        "n",
        false,
        b"nothing here",
        None,
        None,
    ),
    File::new(
        "assets/app-BfD3kz9x.js",
        "text/javascript; charset=utf-8",
        "a",
        true,
        b"0123456789",
        Some(b"br"),
        Some(b"gz"),
    ),
    File::new(
        "guide/index.html",
        "text/html; charset=utf-8",
        "g",
        false,
        b"guide",
        None,
        None,
    ),
    File::new(
        "index.html",
        "text/html; charset=utf-8",
        "i",
        false,
        b"hello",
        None,
        None,
    ),
];

const SITE: Site = Site::new(FILES);
const APP: &str = "/assets/app-BfD3kz9x.js";

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let target = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let mut request = Request::new(method, "http://site.test").with_target(&target);
    for (name, value) in headers {
        request = request
            .with_appended(name.parse::<http::HeaderName>().unwrap(), *value)
            .unwrap();
    }
    request
}

fn get(site: &Site, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
    let response = site.answer(&request(Method::GET, path, headers)).unwrap();
    let (head, content) = response.into_parts();
    (
        head.status.as_u16(),
        head.headers,
        content.into_bytes().unwrap(),
    )
}

#[test]
fn path_names_a_file_or_the_index_of_a_folder() {
    for (path, text) in [
        ("/", "hello"),
        ("/index.html", "hello"),
        ("/guide/", "guide"),
    ] {
        let (status, headers, body) = get(&SITE, path, &[]);
        assert_eq!((status, &*body), (200, text.as_bytes()), "{path}");
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["hms-cache-control"], GATEWAY);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-security-policy"], Site::CSP);
    }
    let behind = [("x-forwarded-prefix", "/docs")];
    let (status, headers, _) = get(&SITE, "/guide?a=b", &behind);
    assert_eq!(
        (status, &headers["location"]),
        (308, &"/docs/guide/?a=b".parse().unwrap())
    );
}

#[test]
fn hashed_name_is_kept_for_a_year_and_sent_as_the_client_accepts() {
    for (accepted, coding, body) in [
        ("gzip, br", Some("br"), "br"),
        ("gzip", Some("gzip"), "gz"),
        ("identity", None, "0123456789"),
    ] {
        let (status, headers, sent) = get(&SITE, APP, &[("accept-encoding", accepted)]);
        assert_eq!((status, &*sent), (200, body.as_bytes()));
        assert_eq!(
            headers
                .get("content-encoding")
                .map(|it| it.to_str().unwrap()),
            coding
        );
        assert_eq!(headers["vary"], "accept-encoding");
        assert_eq!(headers["cache-control"], IMMUTABLE);
        assert!(!headers.contains_key("content-security-policy"));
        // A strong tag of its own, by which the client is told that it has it.
        let tag = headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"'));
        let again = [("accept-encoding", accepted), ("if-none-match", &tag)];
        let (status, headers, body) = get(&SITE, APP, &again);
        assert_eq!(
            (status, body.len(), &headers["etag"]),
            (304, 0, &tag.parse().unwrap())
        );
    }
}

#[test]
fn range_is_a_part_of_the_file_as_it_is() {
    let ask = |range: &str, more: &[(&str, &str)]| {
        let headers = [&[("range", range), ("accept-encoding", "br")], more].concat();
        get(&SITE, APP, &headers)
    };
    let (status, headers, body) = ask("bytes=2-4", &[]);
    assert_eq!((status, &*body), (206, &b"234"[..]));
    assert_eq!(headers["content-range"], "bytes 2-4/10");
    assert!(!headers.contains_key("content-encoding"));
    let (status, headers, body) = ask("bytes=10-", &[]);
    assert_eq!((status, body.len()), (416, 0));
    assert_eq!(headers["content-range"], "bytes */10");
    // The client has a part of something else.
    assert_eq!(ask("bytes=2-4", &[("if-range", "\"other\"")]).0, 200);
    assert_eq!(ask("bytes=2-4", &[("if-range", "\"a\"")]).0, 206);
}

#[test]
fn missing_path_is_404_and_for_a_single_page_the_page_of_a_navigation() {
    let html = [("accept", "text/html,application/xhtml+xml;q=0.9")];
    let (status, headers, body) = get(&SITE, "/none", &html);
    assert_eq!((status, &*body), (404, &b"nothing here"[..]));
    // The gateway stores neither: there are endlessly many such paths.
    assert!(!headers.contains_key("hms-cache-control"));

    let single = SITE.single_page();
    let (status, headers, body) = get(&single, "/people/7", &html);
    assert_eq!((status, &*body), (200, &b"hello"[..]));
    assert!(!headers.contains_key("hms-cache-control"));
    assert_eq!(headers["vary"], "accept");
    // A script asks for data, a page for an image: it is told that there is none.
    let (status, headers, _) = get(&single, "/people/7", &[("accept", "application/json")]);
    assert_eq!(
        (status, &headers["vary"]),
        (404, &"accept".parse().unwrap())
    );
    assert_eq!(get(&single, "/people/7.png", &html).0, 404);

    let bare = Site::new(&[]);
    let refused = |method, path: &str| bare.answer(&request(method, path, &[])).unwrap_err();
    assert_eq!(refused(Method::GET, "/").status(), 404);
    assert_eq!(refused(Method::POST, "/").status(), 405);
}
