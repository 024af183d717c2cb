//! Routes to an ordinary service, which is played here.

use super::*;

#[tokio::test]
async fn http_service_is_reached_with_streaming_and_its_own_host() {
    let fixture = Fixture::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = service.local_addr().unwrap().to_string();
    let manifest =
        format!("uri: /legacy/**\nupstream: http://{authority}/base\nstrip-prefix: /legacy\n");
    std::fs::write(fixture.data.path().join("legacy.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();

    let mut client = fixture.connect().await;
    let head = "POST /legacy/x?y=1 HTTP/1.1\r\nhost: here\r\nauthorization: Bearer own\r\ntransfer-encoding: chunked\r\n\r\n";
    client
        .write_all(format!("{head}5\r\nfirst\r\n").as_bytes())
        .await
        .unwrap();
    let (mut upstream, _) = service.accept().await.unwrap();
    let seen = read_until(&mut upstream, "first\r\n").await;
    assert!(seen.starts_with("POST /base/x?y=1 HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains(&format!("host: {authority}\r\n"))
            && seen.contains("x-forwarded-host: here\r\n")
    );
    assert!(
        seen.contains("authorization: Bearer own\r\n"),
        "a service checks its own tokens"
    );
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .unwrap();
    read_until(&mut client, "one\r\n").await;
    client.write_all(b"0\r\n\r\n").await.unwrap();
    upstream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut client, "two\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn unreachable_service_is_502_and_a_slow_one_504() {
    let fixture =
        Fixture::with(|limits| limits.upstream_timeout = Duration::from_millis(100)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = format!(
        "uri: /slow\nupstream: http://{}\n",
        service.local_addr().unwrap()
    );
    std::fs::write(fixture.data.path().join("slow.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    assert_eq!(status(&fixture.get("/slow", "").await), 504);
    drop(service);
    let gone = fixture.get("/slow", "").await;
    assert!(
        status(&gone) == 502 && gone.contains("upstream-unreachable"),
        "{gone}"
    );
}

#[tokio::test]
async fn address_over_its_share_of_service_requests_is_refused_and_others_are_served() {
    let fixture = Fixture::with(|limits| limits.bound_services(8, None)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /slow\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("slow.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = fixture.connect().await;
        client.write_all(request).await.unwrap();
        let (upstream, _) = service.accept().await.unwrap();
        held.push((client, upstream));
    }
    let refused = fixture.get("/slow", "").await;
    assert!(
        status(&refused) == 503 && refused.contains("services-full"),
        "{refused}"
    );
    assert_eq!(status(&fixture.get("/open/echo", "").await), 200);

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(fixture.addr).await.unwrap();
    other.write_all(request).await.unwrap();
    let (mut upstream, _) = service.accept().await.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthere";
    upstream.write_all(answer).await.unwrap();
    read_until(&mut other, "there").await;

    // What has been answered to its end counts no longer.
    held[0].1.write_all(answer).await.unwrap();
    read_until(&mut held[0].0, "there").await;
    held[0].0.write_all(request).await.unwrap();
    let asked = tokio::time::timeout(PATIENCE, read_until(&mut held[0].1, "\r\n\r\n"));
    asked.await.unwrap();
}

#[tokio::test]
async fn trusted_proxy_that_names_nobody_has_no_share_of_service_requests() {
    let fixture = Fixture::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.bound_services(8, None);
    })
    .await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /slow\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("slow.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = fixture.connect().await;
        let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.unwrap();
        let accepted = tokio::time::timeout(PATIENCE, service.accept()).await;
        held.push((client, accepted.expect("it comes through").unwrap()));
    }
}

#[tokio::test]
async fn service_sees_announced_trailers_except_forbidden_fields() {
    let fixture = Fixture::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /legacy\nupstream: http://{at}\n");
    std::fs::write(fixture.data.path().join("legacy.yaml"), manifest).unwrap();
    fixture.gateway.routes.reload();
    let mut client = fixture.connect().await;
    let head = "POST /legacy HTTP/1.1\r\nhost: here\r\ntrailer: X-Sum, x-hms-user, Host\r\n\
                trailer: x-late, content-length\r\ntransfer-encoding: chunked\r\n\r\n";
    let rest = "2\r\nin\r\n0\r\nx-sum: 42\r\nx-hms-user: root\r\nx-late: yes\r\nx-other: 1\r\n\r\n";
    client
        .write_all(format!("{head}{rest}").as_bytes())
        .await
        .unwrap();
    let (mut upstream, _) = service.accept().await.unwrap();
    let seen = read_until(&mut upstream, "0\r\nx-sum: 42\r\nx-late: yes\r\n\r\n").await;
    assert!(seen.contains("trailer: x-sum, x-late\r\n"), "{seen}");
    assert!(
        !seen.contains("root") && !seen.contains("content-length"),
        "{seen}"
    );
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    upstream.write_all(answer).await.unwrap();
    read_until(&mut client, "done").await;
}

/// The head of a request as a service sees it, which answers with `answer`.
async fn seen_by_service(
    fixture: &Fixture,
    more: &str,
    request: &str,
    answer: &str,
) -> (String, String) {
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let text = format!("uri: /app/**\nstrip-prefix: /app\nupstream: http://{at}/base\n{more}");
    std::fs::write(fixture.data.path().join("app.yaml"), text).unwrap();
    fixture.gateway.routes.reload();
    let answer = answer.replace("{at}", &at.to_string());
    let served = async {
        let (mut stream, _) = service.accept().await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        head
    };
    let (head, answered) = tokio::join!(served, fixture.raw(request));
    (head.replace(&at.to_string(), "{at}"), answered)
}

const ASK: &str = "GET /app/x HTTP/1.1\r\nhost: Public.example:8443\r\nconnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn service_sees_the_host_of_its_url_or_on_request_that_of_the_client() {
    let fixture = Fixture::open().await;
    let (own, _) = seen_by_service(&fixture, "", ASK, OK).await;
    assert!(own.contains("\r\nhost: {at}\r\n"), "{own}");
    let (passed, _) = seen_by_service(&fixture, "host: pass\n", ASK, OK).await;
    assert!(
        passed.contains("\r\nhost: Public.example:8443\r\n"),
        "{passed}"
    );
    for head in [own, passed] {
        assert!(
            head.contains("\r\nx-forwarded-host: Public.example:8443\r\n"),
            "{head}"
        );
    }
    // HTTP/1.0 may name none.
    let none = "GET /app/x HTTP/1.0\r\n\r\n";
    let (none, _) = seen_by_service(&fixture, "host: pass\n", none, OK).await;
    assert!(none.contains("\r\nhost: {at}\r\n"), "{none}");
}

#[tokio::test]
async fn forwarded_host_and_port_are_believed_from_a_trusted_proxy_only() {
    let told = "x-forwarded-host: evil.example\r\nx-forwarded-host: a.example, www.example\r\n\
                x-forwarded-port: 8443\r\nx-forwarded-proto: https\r\n\r\n";
    let ask = ASK.replacen("\r\n\r\n", &format!("\r\n{told}"), 1);
    let fixture = Fixture::open().await;
    let (head, _) = seen_by_service(&fixture, "", &ask, OK).await;
    assert!(
        head.contains("\r\nx-forwarded-host: Public.example:8443\r\n")
            && head.contains("\r\nx-forwarded-proto: http\r\n")
            && !head.contains("evil")
            && !head.contains("x-forwarded-port"),
        "{head}"
    );

    let trusting = Fixture::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let (head, _) = seen_by_service(&trusting, "", &ask, OK).await;
    assert!(
        head.contains("\r\nx-forwarded-host: www.example\r\n")
            && head.contains("\r\nx-forwarded-port: 8443\r\n")
            && head.contains("\r\nx-forwarded-proto: https\r\n"),
        "{head}"
    );
    for broken in [
        "host: a b",
        "host: user@a",
        "host: a, /",
        "port: 0",
        "port: 65536",
        "port: +80",
        "port: x",
    ] {
        let answer = trusting
            .get("/app/x", &format!("x-forwarded-{broken}\r\n"))
            .await;
        assert_eq!(status(&answer), 400, "{broken}");
    }
    // A proxy that has nothing to say.
    let (head, _) = seen_by_service(&trusting, "", ASK, OK).await;
    assert!(
        head.contains("\r\nx-forwarded-host: Public.example:8443\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn service_redirects_stay_behind_the_stripped_prefix() {
    let fixture = Fixture::open().await;
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://{at}/base/y\r\nset-cookie: a=1; Path=/base\r\ncontent-length: 0\r\n\r\n";
    let (_, answer) = seen_by_service(&fixture, "", ASK, moved).await;
    assert!(
        answer.contains("\r\nlocation: /app/y\r\n")
            && answer.contains("\r\nset-cookie: a=1; Path=/app\r\n"),
        "{answer}"
    );
    let (_, answer) = seen_by_service(&fixture, "rewrite-location: false\n", ASK, moved).await;
    assert!(
        answer.contains("/base/y\r\n") && answer.contains("Path=/base\r\n"),
        "{answer}"
    );
}
