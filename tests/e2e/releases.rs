//! Releases follow each other live, and can be gone back to.

use hms_api::DrainStatus;
use hms_harness::guests::variant;
use hms_harness::{Host, eventually, guest};
use http::Method;

#[tokio::test]
async fn rollback_restores_the_previous_release_and_survives_a_restart() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let mut host = Host::with_open_windows(&[("hello", &older)]).await;
    assert_eq!(host.deploy("hello", &newer).await, 2);
    assert!(host.get("/hello").await.text().contains("wasip3"));
    assert!(host.cli("rollback", &["hello"]).await.status.success());
    assert!(host.get("/hello").await.text().contains("wstd"));
    let refused = host.cli("rollback", &["hello", "--to", "7"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no release 7"));
    host.kill();
    host.boot().await;
    assert!(host.get("/hello").await.text().contains("wstd"));
    assert!(
        host.cli("rollback", &["hello", "--to", "2"])
            .await
            .status
            .success()
    );
    assert!(host.get("/hello").await.text().contains("wasip3"));
}

#[tokio::test]
async fn request_in_flight_finishes_on_the_release_it_began_on() {
    let prober = guest("prober").await;
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    // Longer than a deploy takes on a loaded machine.
    let slow = host.get("/w/slow-body?chunks=100&ms=100");
    let swap = async {
        eventually("the slow request is at work", || async {
            (host.window("w").await.leases == 1).then_some(())
        })
        .await;
        host.deploy("w", &hello).await;
        assert!(host.get("/w").await.text().contains("wasip3"));
        let (number, leases) = (1, 1);
        let draining = [DrainStatus { number, leases }];
        assert_eq!(host.window("w").await.draining, draining);
    };
    let (slow, ()) = tokio::join!(slow, swap);
    assert_eq!((slow.status.as_u16(), slow.cut), (200, None));
    eventually("the old release is gone", || async {
        let draining = host.window("w").await.draining;
        draining.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn request_outliving_the_drain_deadline_is_visibly_cut() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows_and(&[("w", &prober)], &["--drain", "300ms"]).await;
    let slow = host.get("/w/slow-body?chunks=1000&ms=100");
    let swap = async {
        eventually("the slow request is at work", || async {
            (host.window("w").await.leases == 1).then_some(())
        })
        .await;
        host.deploy("w", &variant(&prober, "next")).await;
    };
    let (slow, ()) = tokio::join!(slow, swap);
    assert_eq!(slow.status, 200);
    assert!(slow.cut.is_some());
    assert_eq!(host.get("/w/status?code=204").await.status, 204);
}

#[tokio::test]
async fn stopped_window_stays_stopped_across_a_restart() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    assert!(host.cli("stop", &["hello"]).await.status.success());
    assert!(host.terminate().await.success());
    host.boot().await;
    assert_eq!(host.get("/hello").await.problem(), "window-stopped");
    assert!(host.cli("start", &["hello"]).await.status.success());
    assert_eq!(host.get("/hello").await.status, 200);
}

#[tokio::test]
async fn restart_does_not_compile_again() {
    let hello = guest("hello-wasip3").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    let native = host.data().join("artifacts/native");
    let files = || {
        let entries = std::fs::read_dir(&native).unwrap().map(Result::unwrap);
        entries
            .map(|e| (e.path(), e.metadata().unwrap().modified().unwrap()))
            .collect::<Vec<_>>()
    };
    let before = files();
    assert_eq!(before.len(), 1);
    host.kill();
    host.boot().await;
    assert_eq!(host.get("/hello").await.status, 200);
    assert_eq!(files(), before);
}

#[tokio::test]
async fn window_removal_keeps_its_store_unless_told_to_delete_it() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    assert_eq!(
        host.call(Method::PUT, "/w/kv/b/k", &[], "v").await.status,
        204
    );
    let unasked = host.cli("remove", &["w"]).await;
    assert!(
        !unasked.status.success(),
        "it must ask, and there is nobody to answer"
    );
    assert!(host.cli("remove", &["w", "--yes"]).await.status.success());
    assert_eq!(host.get("/w/kv/b/k").await.problem(), "window-not-deployed");
    host.deploy("w", &prober).await;
    assert_eq!(host.get("/w/kv/b/k").await.text(), "v");
    assert!(
        host.cli("remove", &["w", "--yes", "--delete-store"])
            .await
            .status
            .success()
    );
    host.deploy("w", &prober).await;
    assert_eq!(host.get("/w/kv/b/k").await.status, 404);
}

#[tokio::test]
async fn only_the_last_ten_releases_and_their_artifacts_are_kept() {
    let hello = guest("hello-wstd").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    for number in 2..=12 {
        assert_eq!(
            host.deploy("hello", &variant(&hello, &format!("v{number}")))
                .await,
            number
        );
    }
    let releases = host.window_and_releases("hello").await.releases;
    let numbers: Vec<u64> = releases.iter().map(|release| release.number).collect();
    assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    let artifacts = std::fs::read_dir(host.data().join("artifacts")).unwrap();
    let wasm = artifacts
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|x| x == "wasm")
        })
        .count();
    assert_eq!(wasm, 10);
}

#[tokio::test]
async fn concurrent_deploys_of_one_window_form_one_sequence_of_releases() {
    let hello = guest("hello-wstd").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let variants: Vec<_> = (0..6).map(|i| variant(&hello, &format!("c{i}"))).collect();
    let mut numbers =
        futures_util::future::join_all(variants.iter().map(|wasm| host.deploy("hello", wasm)))
            .await;
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7]);
}
