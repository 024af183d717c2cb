//! Routes follow their files, and a bad file harms no other.

use hms_api::{FileState, Problem, RouteDetail, RouteList};
use hms_harness::host::open_route;
use hms_harness::{Host, eventually, guest};
use http::Method;

#[tokio::test]
async fn rate_limit_admits_its_number_and_survives_route_edits_and_deploys() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let limited = |limit: u32| {
        format!(
            "{}plugins:\n  - rate-limit:\n      limit: {limit}\n      window: 600\n",
            open_route("hello")
        )
    };
    host.write_route("hello.yaml", &limited(5));
    eventually("the limit is live", || async {
        let routes = host.admin(Method::GET, "/routes", "").await.text();
        routes.contains("rate-limit").then_some(())
    })
    .await;
    for left in (0..5).rev() {
        let answer = host.get("/hello").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.header("ratelimit").contains(&format!("r={left}")),
            "{:?}",
            answer.headers
        );
        assert!(
            answer.header("ratelimit-policy").contains("q=5;w=600"),
            "{:?}",
            answer.headers
        );
    }
    let refused = host.get("/hello").await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (429, "rate-limited")
    );
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);

    host.deploy("hello", &hello).await;
    assert_eq!(host.get("/hello").await.status, 429);
    host.write_route("hello.yaml", &limited(6));
    // The edit itself is seen by the one request more that it admits, and by no other.
    eventually("the higher limit is live", || async {
        (host.get("/hello").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 429);
}

#[tokio::test]
async fn route_is_managed_by_the_admin_api_and_a_bad_one_changes_nothing() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let good = open_route("hello").replace("/hello", "/there");
    let put = |name: &'static str, text: String| {
        let path = format!("/routes/{name}");
        let host = &host;
        async move { host.admin(Method::PUT, &path, text).await }
    };
    let made = put("there", good.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let route = made.read::<RouteDetail>().route.route;
    assert_eq!(route.unwrap().uri, "/there/**");
    // Live when it is answered.
    assert_eq!(host.get("/there").await.status, 200);
    assert_eq!(put("there", good.clone()).await.status, 200);

    let refused = put(
        "there",
        good.replace("uri: /", "uri: ")
            .replace("upstream", "upstraem"),
    )
    .await;
    assert_eq!(refused.status, 422);
    let faults = refused.read::<Problem>().faults;
    assert_eq!(faults.len(), 2, "{}", refused.text());
    let claimed = put("elsewhere", good.clone()).await;
    assert_eq!(claimed.status, 409);
    assert!(claimed.text().contains("there.yaml"), "{}", claimed.text());
    // A dry run says the same, and writes nothing.
    let other = good.replace("/there", "/elsewhere");
    for (text, status) in [(&good, 409), (&"upstraem: x\n".into(), 422), (&other, 204)] {
        let tried = put("elsewhere?dry-run=true", text.clone()).await;
        assert_eq!(tried.status, status, "{}", tried.text());
    }
    assert_eq!(put("elsewhere?dryrun=true", other).await.status, 400);
    assert_eq!(host.get("/elsewhere").await.problem(), "no-route");
    assert_eq!(host.get("/there").await.status, 200);
    assert!(!host.routes().join("elsewhere.yaml").exists());

    let shown: RouteDetail = host.admin(Method::GET, "/routes/there", "").await.read();
    assert_eq!(shown.manifest, Some(good));
    let listed = host.cli("routes", &[]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("there.yaml") && listed.contains("/there/**"),
        "{listed}"
    );
    let removed = host.admin(Method::DELETE, "/routes/there", "").await;
    assert_eq!(removed.status, 200);
    assert_eq!(host.get("/there").await.problem(), "no-route");
    assert_eq!(
        host.admin(Method::DELETE, "/routes/there", "").await.status,
        404
    );
}

#[tokio::test]
async fn bad_file_keeps_its_last_good_route_across_a_restart() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    let good: RouteDetail = host.admin(Method::GET, "/routes/hello", "").await.read();
    let text = good.manifest.unwrap();
    host.write_route("hello.yaml", &text.replace("uri", "url"));
    host.terminate().await;
    host.boot().await;
    assert_eq!(host.get("/hello").await.status, 200);
    let list: RouteList = host.admin(Method::GET, "/routes", "").await.read();
    assert_eq!(list.routes[0].state, FileState::Refused);
}

#[test]
fn closed_output_pipe_causes_no_panic() {
    let mut child = std::process::Command::new(hms_harness::hms())
        .args(["check", "--schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
