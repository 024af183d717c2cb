//! A changed route is live within a second.

use hms_harness::host::open_route;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::time::{Duration, Instant};

#[tokio::test]
async fn changed_file_is_live_within_a_second_and_a_bad_one_keeps_the_last_good_route() {
    let _alone = super::alone().await;
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    assert_eq!(host.get("/later").await.problem(), "no-route");

    let written = Instant::now();
    host.write_route(
        "later.yaml",
        &open_route("hello").replace("/hello", "/later"),
    );
    eventually("the new route is live", || async {
        (host.get("/later").await.status == 200).then_some(())
    })
    .await;
    assert!(
        written.elapsed() < Duration::from_secs(1),
        "{:?}",
        written.elapsed()
    );

    host.write_route(
        "later.yaml",
        "uri: /later/**\nupstraem: http://hms-svc-hello\n",
    );
    let routes = eventually("the bad file is reported", || async {
        let routes = host.admin(Method::GET, "/routes", "").await.text();
        routes.contains("upstraem").then_some(routes)
    })
    .await;
    assert!(
        routes.contains("later.yaml") && routes.contains("upstream"),
        "{routes}"
    );
    assert_eq!(host.get("/later").await.status, 200);

    std::fs::remove_file(host.routes().join("later.yaml")).unwrap();
    eventually("the route is gone", || async {
        (host.get("/later").await.status == 404).then_some(())
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 200);
}
