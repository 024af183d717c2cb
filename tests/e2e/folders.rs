//! What cannot be read when the host starts, or later, is kept as it last was, and said.

use hms_harness::host::open_route;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Puts something in a folder's place that nobody can read, not even root: a link to itself. Gives
/// where the folder is now.
fn hide(folder: &Path) -> PathBuf {
    let away = folder.with_extension("away");
    fs::rename(folder, &away).unwrap();
    symlink(folder, folder).unwrap();
    away
}

fn bring_back(folder: &Path, away: &Path) {
    fs::remove_file(folder).unwrap();
    fs::rename(away, folder).unwrap();
}

async fn metric(host: &Host, name: &str) -> String {
    let metrics = host
        .admin_request(Method::GET, "/metrics", &[], Vec::new())
        .await
        .text();
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .to_owned()
}

#[tokio::test]
async fn unreadable_routes_folder_at_startup_keeps_the_last_routes_and_is_not_ready() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    assert!(host.terminate().await.success());
    let away = hide(&host.routes());
    host.open(&[]).await;
    assert_eq!(host.get("/hello").await.status, 200);
    let ready = host.readyz().await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["not-read-yet"], json!(["the routes folder"]));
    assert_eq!(
        metric(&host, "hms_gateway_route_folder_unreadable").await,
        "1"
    );
    let shown = host.admin(Method::GET, "/routes", "").await.json();
    assert!(shown["folder-fault"].is_string(), "{shown}");
    let listed = host.cli("routes", &[]).await;
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(said.contains("cannot read the routes folder"), "{said}");
    let log = host.whole_log().await;
    assert!(log.contains("not ready until this is fixed"), "{log}");

    let refused = host
        .admin(Method::PUT, "/routes/new", open_route("new"))
        .await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.problem()),
        (503, "routes-unreadable")
    );

    bring_back(&host.routes(), &away);
    eventually("the host is ready", || async {
        (host.readyz().await.status == 200).then_some(())
    })
    .await;
    assert!(!host.routes().join("new.yaml").exists());
    assert_eq!(host.get("/hello").await.status, 200);
    assert_eq!(
        metric(&host, "hms_gateway_route_folder_unreadable").await,
        "0"
    );
}

/// As where a volume is not mounted yet.
#[tokio::test]
async fn empty_routes_folder_at_startup_keeps_the_last_routes_until_confirmed() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    assert!(host.terminate().await.success());
    let (routes, away) = (host.routes(), host.routes().with_extension("away"));
    fs::rename(&routes, &away).unwrap();
    fs::create_dir(&routes).unwrap();
    // Twice: the first start must not forget them.
    for _ in 0..2 {
        host.open(&[]).await;
        assert_eq!(host.get("/hello").await.status, 200);
        let ready = host.readyz().await;
        assert_eq!(ready.json()["not-read-yet"], json!(["the routes folder"]));
        let put = host.admin(Method::PUT, "/routes/n", open_route("n")).await;
        assert_eq!(put.problem(), "routes-unreadable");
        let log = host.whole_log().await;
        assert!(log.contains("is empty") && log.contains("SIGHUP"), "{log}");
        host.kill();
    }
    host.open(&[]).await;
    host.signal("HUP");
    eventually("the host is ready", || async {
        (host.readyz().await.status == 200).then_some(())
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 404);
}

#[tokio::test]
async fn unreadable_windows_folder_at_startup_keeps_the_windows_and_is_not_ready() {
    let hello = guest("hello-wasip3").await;
    let folder = tempfile::tempdir().unwrap();
    let windows = folder.path().join("windows");
    fs::create_dir(&windows).unwrap();
    fs::write(windows.join("hello.wasm"), &hello).unwrap();
    let mut host = Host::start_with(Options {
        args: vec!["--windows".into(), windows.display().to_string()],
        routes: vec![("hello.yaml", open_route("hello"))],
        up: None,
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 200);
    assert!(host.terminate().await.success());
    let away = hide(&windows);
    host.open(&[]).await;
    assert_eq!(host.get("/hello").await.status, 200);
    eventually("the folder's fault is measured", || async {
        (metric(&host, "hms_watched_folder_unreadable").await == "1").then_some(())
    })
    .await;
    let ready = host.readyz().await;
    // It has the components, and the grants as well.
    assert_eq!(
        ready.json()["not-read-yet"],
        json!(["the grants folder", "the windows folder"])
    );
    bring_back(&windows, &away);
    eventually("the host is ready", || async {
        (host.readyz().await.status == 200).then_some(())
    })
    .await;
}
