//! HTTP/2 with prior knowledge.

use super::*;

#[tokio::test]
async fn http2_with_prior_knowledge_obeys_the_same_rules() {
    let fixture = Fixture::open().await;
    let client = h2();
    let request = |path: &str| {
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", fixture.addr))
            .header("x-hms-user", "mallory")
            .body(Full::new(Bytes::from("body")))
            .unwrap()
    };
    let answer = client.request(request("/open/echo")).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, http::Version::HTTP_2)
    );
    let said = answer.into_body().collect().await.unwrap().to_bytes();
    let said = String::from_utf8(said.to_vec()).unwrap();
    assert!(
        said.contains(&format!("POST http://{}/echo open", fixture.addr))
            && !said.contains("mallory")
    );
    assert_eq!(
        client
            .request(request("/open/a/%2e%2e"))
            .await
            .unwrap()
            .status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn http2_client_is_sent_away_at_shutdown_after_its_answer() {
    let fixture = Fixture::open().await;
    let client = h2();
    let uri = format!("http://{}/open/out", fixture.addr);
    let request = Request::builder().uri(uri).body(Full::default()).unwrap();
    let mut answer = client.request(request).await.unwrap().into_body();
    fixture.give.send("first".into()).unwrap();
    assert_eq!(
        answer.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    fixture.shutdown.cancel();
    fixture.give.send("last".into()).unwrap();
    drop(fixture.give);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "last");
    let cut = tokio::time::timeout(PATIENCE, fixture.serving)
        .await
        .expect("GOAWAY ends the connection");
    assert_eq!(cut.unwrap(), 0);
}
