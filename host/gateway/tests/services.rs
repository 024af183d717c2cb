//! Routes to an ordinary service, which is played here.

use super::*;

#[tokio::test]
async fn an_ordinary_service_is_reached_with_streaming_and_its_own_host() {
    let house = House::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = service.local_addr().unwrap().to_string();
    let manifest =
        format!("uri: /legacy/**\nupstream: http://{authority}/base\nstrip-prefix: /legacy\n");
    std::fs::write(house.data.path().join("legacy.yaml"), manifest).unwrap();
    house.gateway.routes.reload();

    let mut client = house.connect().await;
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
async fn a_service_that_is_gone_is_502_and_one_that_is_slow_504() {
    let house = House::with(|limits| limits.upstream_timeout = Duration::from_millis(100)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = format!(
        "uri: /slow\nupstream: http://{}\n",
        service.local_addr().unwrap()
    );
    std::fs::write(house.data.path().join("slow.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    assert_eq!(status(&house.get("/slow", "").await), 504);
    drop(service);
    let gone = house.get("/slow", "").await;
    assert!(
        status(&gone) == 502 && gone.contains("upstream-unreachable"),
        "{gone}"
    );
}

#[tokio::test]
async fn one_address_has_a_share_of_the_requests_at_services_and_others_are_served() {
    let house = House::with(|limits| limits.bound_services(8, None)).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /slow\nupstream: http://{at}\n");
    std::fs::write(house.data.path().join("slow.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = house.connect().await;
        client.write_all(request).await.unwrap();
        let (upstream, _) = service.accept().await.unwrap();
        held.push((client, upstream));
    }
    let refused = house.get("/slow", "").await;
    assert!(
        status(&refused) == 503 && refused.contains("services-full"),
        "{refused}"
    );
    assert_eq!(status(&house.get("/open/echo", "").await), 200);

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(house.addr).await.unwrap();
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
async fn a_trusted_proxy_that_names_nobody_speaks_for_many_and_has_no_share_of_the_services() {
    let house = House::configured(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.bound_services(8, None);
    })
    .await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /slow\nupstream: http://{at}\n");
    std::fs::write(house.data.path().join("slow.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = house.connect().await;
        let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.unwrap();
        let accepted = tokio::time::timeout(PATIENCE, service.accept()).await;
        held.push((client, accepted.expect("it comes through").unwrap()));
    }
}

#[tokio::test]
async fn a_service_sees_the_trailers_that_were_announced_but_for_what_no_trailer_may_say() {
    let house = House::open().await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = service.local_addr().unwrap();
    let manifest = format!("uri: /legacy\nupstream: http://{at}\n");
    std::fs::write(house.data.path().join("legacy.yaml"), manifest).unwrap();
    house.gateway.routes.reload();
    let mut client = house.connect().await;
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
