//! Where an API key may be seen, and where not.

use super::*;

const KEYED: &str =
    "uri: /keyed/**\nupstream: http://hms-svc-open:8080\nstrip-prefix: /keyed\nplugins: [auth]\n";

#[tokio::test]
async fn api_key_names_its_caller_until_revoked_and_reaches_no_window() {
    let fixture = Fixture::open().await;
    std::fs::write(fixture.data.path().join("keyed.yaml"), KEYED).unwrap();
    fixture.gateway.routes.reload();
    let keys = fixture.gateway.api_keys().clone();
    let (key, text) = keys.add("robot", &["a.read".into()], None).unwrap();
    for header in [
        format!("x-api-key: {text}\r\n"),
        format!("authorization: Bearer {text}\r\n"),
        format!("authorization: bearer {text}\r\nX-API-Key: {text}\r\n"),
    ] {
        let seen = fixture.get("/keyed/echo", &header).await;
        assert_eq!(status(&seen), 200, "{seen}");
        assert!(seen.contains("x-hms-user: robot\n") && seen.contains("x-hms-scopes: a.read\n"));
        assert!(
            !seen.contains("hms_") && !seen.contains("api-key"),
            "{seen}"
        );
    }
    // Another's key, beside a token that the route asks for.
    for header in ["X_API_KEY: theirs\r\n", "x.api.key: theirs\r\n"] {
        let header = format!("{header}{}", fixture.bearer(&[]));
        let seen = fixture.get("/keyed/echo", &header).await;
        assert!(status(&seen) == 200 && !seen.contains("theirs"), "{seen}");
    }
    let both = format!("x-api-key: {text}\r\n{}", fixture.bearer(&[]));
    assert_eq!(status(&fixture.get("/keyed/echo", &both).await), 401);

    keys.revoke(&key.id).unwrap();
    let refused = fixture
        .get("/keyed/echo", &format!("x-api-key: {text}\r\n"))
        .await;
    assert_eq!(status(&refused), 401);
    assert!(refused.contains("error=\"invalid_token\""), "{refused}");
}

/// Which routes pass on what a request shows of itself, to a window and to a middleware.
#[tokio::test]
async fn window_gets_credentials_only_where_auth_is_absent_or_passes_them() {
    let fixture = Fixture::open().await;
    let token = fixture.bearer(&["a.read"]);
    let (_, ours) = fixture.gateway.api_keys().add("robot", &[], None).unwrap();
    let route = |plugins: &str| {
        let manifest = format!(
            "uri: /own/**\nupstream: http://hms-svc-open\nstrip-prefix: /own\nplugins: [{plugins}]\n"
        );
        std::fs::write(fixture.data.path().join("own.yaml"), manifest).unwrap();
        fixture.gateway.routes.reload();
    };
    let theirs = "X_Api_Key: theirs\r\n";
    for (plugins, passes) in [
        ("", true),
        ("rate-limit", true),
        ("auth", false),
        ("auth: {pass-credentials: false}", false),
        ("auth: {pass-credentials: true}", true),
    ] {
        route(plugins);
        let seen = fixture.get("/own/echo", &format!("{token}{theirs}")).await;
        assert_eq!(status(&seen), 200, "{plugins}: {seen}");
        assert_eq!(seen.contains(token.trim_end()), passes, "{plugins}: {seen}");
        assert_eq!(seen.contains("theirs"), passes, "{plugins}: {seen}");
        for header in [
            format!("x-api-key: {ours}\r\n"),
            format!("authorization: Bearer {ours}\r\n"),
            format!("authorization: Bearer {ours}\r\nx-token: {ours}\r\ncookie: k={ours}\r\n"),
        ] {
            let seen = fixture.get("/own/echo", &header).await;
            assert_eq!(status(&seen), 200, "{plugins}: {seen}");
            assert!(!seen.contains("hms_"), "{plugins}: {seen}");
        }
    }
    route("");
    for own in [
        "Basic YWxpY2U6c2VjcmV0",
        "Bearer of-the-window",
        "Negotiate x",
    ] {
        let seen = fixture
            .get(
                "/own/echo",
                &format!("authorization: {own}\r\ncookie: session=1; hms-admin=x\r\n"),
            )
            .await;
        assert!(seen.contains(&format!("authorization: {own}\n")), "{seen}");
        assert!(seen.contains("cookie: session=1\n"), "{seen}");
    }
}

#[tokio::test]
async fn service_gets_its_own_keys_and_never_a_key_of_the_host() {
    let fixture = Fixture::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = service.local_addr().unwrap();
    for (name, plugins) in [
        ("open", ""),
        ("shut", "plugins: [auth]\n"),
        ("kept", "plugins: [auth: {pass-credentials: false}]\n"),
    ] {
        let manifest = format!("uri: /legacy-{name}/**\nupstream: http://{authority}\n{plugins}");
        let file = format!("legacy-{name}.yaml");
        std::fs::write(fixture.data.path().join(file), manifest).unwrap();
    }
    fixture.gateway.routes.reload();
    let (_, ours) = fixture.gateway.api_keys().add("robot", &[], None).unwrap();
    let token = fixture.bearer(&[]);
    for (path, header, expected) in [
        ("open", "x-api-key: theirs\r\n".into(), Some("theirs")),
        ("open", format!("x-api-key: {ours}\r\n"), None),
        ("open", format!("authorization: Bearer {ours}\r\n"), None),
        ("shut", format!("x-api-key: {ours}\r\n"), None),
        ("shut", format!("authorization: Bearer {ours}\r\n"), None),
        (
            "shut",
            format!("x-api-key: theirs\r\n{token}"),
            Some("theirs"),
        ),
        ("kept", format!("x-api-key: theirs\r\n{token}"), None),
    ] {
        let path = format!("/legacy-{path}/x");
        let asking = fixture.get(&path, &header);
        let serving = async {
            let (mut upstream, _) = service.accept().await.unwrap();
            let seen = read_until(&mut upstream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            upstream.write_all(answer).await.unwrap();
            seen
        };
        let (answer, seen) =
            tokio::time::timeout(PATIENCE, async { tokio::join!(asking, serving) })
                .await
                .unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(!seen.contains("hms_"), "{header}: {seen}");
        if let Some(expected) = expected {
            assert!(seen.contains(&format!("x-api-key: {expected}")), "{seen}");
        } else {
            let shown = ["theirs", "authorization"]
                .iter()
                .any(|it| seen.contains(it));
            assert!(!shown, "{header}: {seen}");
        }
    }
}

/// A route whose middleware passes on what the test gives.
const VISITED: &str = "uri: /visited/**\nupstream: http://hms-svc-open:8080\nstrip-prefix: /visited\n\
                       plugins: [auth, {wasm: {window: between}}]\n";

#[tokio::test]
async fn middleware_forwards_nothing_for_a_caller_whose_key_was_revoked_meanwhile() {
    let mut fixture = Fixture::open().await;
    std::fs::write(fixture.data.path().join("visited.yaml"), VISITED).unwrap();
    fixture.gateway.routes.reload();
    let keys = fixture.gateway.api_keys().clone();
    let (key, text) = keys.add("robot", &[], None).unwrap();
    let mut stream = fixture.connect().await;
    let ask = format!(
        "POST /visited/in HTTP/1.1\r\nhost: x\r\nx-api-key: {text}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    fixture.give.send("first".into()).unwrap();
    read_until(&mut stream, "200;\r\n").await;
    assert_eq!(next(&mut fixture.arrived).await, "first");
    assert_eq!(next(&mut fixture.arrived).await, "trailers [\"x-sum\"]");

    keys.revoke(&key.id).unwrap();
    fixture.give.send("second".into()).unwrap();
    read_until(&mut stream, "401;\r\n").await;
    assert!(fixture.arrived.try_recv().is_err(), "it came through");
}

#[tokio::test]
async fn middleware_forwards_on_an_open_route_without_identity_in_trailers() {
    let mut fixture = Fixture::open().await;
    let open = VISITED.replace("auth, ", "");
    std::fs::write(fixture.data.path().join("visited.yaml"), open).unwrap();
    fixture.gateway.routes.reload();
    let mut stream = fixture.connect().await;
    let ask = "POST /visited/in HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    for piece in ["one", "two"] {
        fixture.give.send(piece.into()).unwrap();
        read_until(&mut stream, "200;\r\n").await;
        assert_eq!(next(&mut fixture.arrived).await, piece);
        assert_eq!(next(&mut fixture.arrived).await, "trailers [\"x-sum\"]");
    }
}
