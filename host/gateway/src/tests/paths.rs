//! Encoded slashes and empty segments, where a route allows them.

use super::*;

/// A fixture with these routes to the window `open`, which says what path it was sent.
async fn fixture_of(routes: &[(&str, &str)]) -> Fixture {
    let fixture = Fixture::open().await;
    for (name, fields) in routes {
        let text = format!("upstream: http://hms-svc-open\n{fields}");
        std::fs::write(fixture.data.path().join(format!("{name}.yaml")), text).unwrap();
    }
    fixture.gateway.routes.reload();
    for (name, _) in routes {
        let faults = fixture.gateway.routes.get(name).unwrap().0.faults;
        assert!(faults.is_empty(), "{faults:?}");
    }
    fixture
}

#[tokio::test]
async fn forwarded_path_is_the_matched_path() {
    let fixture = fixture_of(&[
        (
            "slashes",
            "uri: /projects/{id}/**\nencoded-slashes: allow\n",
        ),
        ("empty", "uri: /s3/**\nempty-segments: allow\n"),
        (
            "both",
            "uri: /both/**\nencoded-slashes: allow\nempty-segments: allow\n",
        ),
        ("neither", "uri: /plain/**\n"),
        (
            "stripped",
            "uri: /cut/**\nempty-segments: allow\nstrip-prefix: /cut\n",
        ),
    ])
    .await;
    for (path, passed) in [
        (
            "/projects/group%2fproject/x",
            Some("/projects/group%2Fproject/x"),
        ),
        (
            "/projects/https:%2F%2Fexample.org",
            Some("/projects/https:%2F%2Fexample.org"),
        ),
        ("/s3/a//b/", Some("/s3/a//b/")),
        ("/s3//", Some("/s3//")),
        ("/both/a%2F//b", Some("/both/a%2F//b")),
        ("/cut/a//b", Some("/a//b")),
        // What the route does not allow, and what no route may.
        ("/projects/a//b", None),
        ("/s3/a%2Fb", None),
        ("/plain/a%2Fb", None),
        ("/plain/a//b", None),
        ("/nowhere/a%2Fb", None),
        ("/both/a%2F..%2Fb", None),
        ("/both/a%2F%2e%2e%2Fb", None),
        ("/both/%2e%2E%2fb", None),
        ("/both/..;x%2Fb", None),
        ("/both/a//../b", None),
        ("/both/a%5Cb", None),
        ("//s3/a", None),
        ("/both%2Fa", None),
        // It would begin as the name of a host does.
        ("/cut//evil.example/x", None),
    ] {
        let answer = fixture.get(path, "").await;
        match passed {
            Some(passed) => {
                let line = format!("GET http://here{passed} open\n");
                assert!(answer.contains(&line), "{path}: {answer}");
            }
            None => assert_eq!(status(&answer), 400, "{path}: {answer}"),
        }
    }
}

#[tokio::test]
async fn second_reading_of_a_path_bypasses_no_plugin() {
    let odd = "encoded-slashes: allow\nempty-segments: allow\n";
    let open = format!("uri: /files/**\n{odd}");
    let fixture = fixture_of(&[
        ("open", open.as_str()),
        ("locked", "uri: /files/locked/**\nplugins: [auth]\n"),
        ("one", "uri: /one/{id}\nencoded-slashes: allow\n"),
        ("read", "uri: /one/read/{name}\nmethods: [GET]\n"),
        (
            "fenced",
            "uri: /files/a/b/c\nplugins:\n  - ip-allow: {addresses: [192.0.2.1]}\n",
        ),
    ])
    .await;
    for path in [
        "/files/locked%2Fx",
        "/files/locked%2fx%2fy",
        "/files//locked/x",
        "/files/%2Flocked%2Fx",
        "/files/%2F/locked/x",
        "/files/a%2Fb%2Fc",
        "/files/a//b/c",
        "/files/a/%2Fb%2F/c",
    ] {
        assert_eq!(status(&fixture.get(path, "").await), 400, "{path}");
    }
    assert_eq!(status(&fixture.get("/files/locked/x", "").await), 401);
    // It is nobody's, read in another way.
    assert_eq!(status(&fixture.get("/files/a%2Fb%2Fd", "").await), 200);
    // To a path that only takes GET a POST leads by no other way.
    let post =
        "POST /one/read%2Fx HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(status(&fixture.raw(post).await), 400);
}
