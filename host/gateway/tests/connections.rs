//! Connections from their first byte to the shutdown.

use super::*;

#[tokio::test]
async fn clients_that_are_slow_with_their_first_bytes_or_headers_are_cut() {
    let house = House::with(|limits| {
        limits.first_byte_timeout = Duration::from_millis(100);
        limits.header_timeout = Duration::from_millis(200);
    })
    .await;
    for (sent, least_ms) in [
        ("", 100),
        ("P", 100),
        ("PRI * HTTP/2.0\r\n", 100),
        ("GET / HTTP/1.1\r\nhos", 200),
    ] {
        let mut stream = house.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let began = Instant::now();
        read_to_end(&mut stream).await;
        assert!(
            began.elapsed() >= Duration::from_millis(least_ms - 20),
            "{sent:?} cut too early"
        );
    }
}

#[tokio::test]
async fn too_many_headers_and_too_long_targets_are_refused() {
    let house = House::open().await;
    let many: String = (0..101).map(|i| format!("h{i}: 1\r\n")).collect();
    assert_eq!(status(&house.get("/open/echo", &many).await), 431);
    assert_eq!(
        status(&house.get(&format!("/open/{}", "a".repeat(8192)), "").await),
        414
    );
}

#[tokio::test]
async fn over_the_connection_limit_a_client_waits_and_is_served_later() {
    let house = House::with(|limits| limits.max_connections = 1).await;
    let first = house.begin_answer("held").await;
    let mut second = house.connect().await;
    second
        .write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    read_until(&mut second, "\r\n\r\n").await;
}

#[tokio::test]
async fn a_shutdown_lets_a_running_answer_finish_and_takes_nothing_new() {
    let house = House::open().await;
    let mut idle = house.connect().await;
    idle.write_all(b"GET /open/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let mut running = house.begin_answer("first").await;

    house.shutdown.cancel();
    read_to_end(&mut idle).await;
    while TcpStream::connect(house.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!house.serving.is_finished());
    house.give.send("last".into()).unwrap();
    drop(house.give);
    let rest = read_to_end(&mut running).await;
    assert!(rest.ends_with("last\r\n0\r\n\r\n"), "{rest:?}");
    assert_eq!(house.serving.await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_cuts_what_runs_beyond_the_deadline() {
    let house = House::with(|limits| limits.drain_timeout = Duration::from_millis(100)).await;
    let mut running = house.begin_answer("first").await;
    house.shutdown.cancel();
    assert_eq!(house.serving.await.unwrap(), 1);
    assert!(
        !read_to_end(&mut running).await.contains("0\r\n\r\n"),
        "cut, not ended"
    );
}
