//! What the disk damages of components, native code and records is made anew, replaced, or closes
//! no more than it must.

use hms_api::WindowDetail;
use hms_harness::guests::variant;
use hms_harness::host::open_route;
use hms_harness::{Host, Options, eventually, guest};
use hms_runtime::native::hex;
use hms_store::{Op, StoreLimits, open_file};
use http::Method;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

fn digest(component: &[u8]) -> String {
    hex(&Sha256::digest(component))
}

fn artifact(host: &Host, component: &[u8]) -> PathBuf {
    let name = format!("{}.wasm", digest(component));
    host.data().join("artifacts").join(name)
}

fn native(host: &Host, component: &[u8]) -> PathBuf {
    let (folder, digest) = (host.data().join("artifacts/native"), digest(component));
    let mut files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let of_it = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&digest)
    };
    files.find(of_it).expect("native code of it")
}

/// The disk loses most of the component, and all that was made of it.
fn damage(host: &Host, component: &[u8]) {
    fs::remove_file(native(host, component)).unwrap();
    let file = artifact(host, component);
    fs::write(&file, &component[..500]).unwrap();
}

fn outcome(shown: &WindowDetail, number: u64) -> &str {
    let mut releases = shown.releases.iter();
    let release = releases.find(|release| release.number == number).unwrap();
    release.outcome.as_deref().unwrap_or_default()
}

fn live(shown: &WindowDetail) -> Option<u64> {
    shown.window.live.as_ref().map(|live| live.number)
}

async fn put(host: &Host, path: &str, component: &[u8]) {
    let answer = host.admin(Method::PUT, path, component).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

#[tokio::test]
async fn damaged_native_code_is_recompiled_and_never_run() {
    let (hello, other) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let windows: [(&str, &[u8]); 2] = [("hello", &hello), ("other", &other)];
    let mut host = Host::with_open_windows(&windows).await;
    let file = native(&host, &hello);
    let (good, others) = (
        fs::read(&file).unwrap(),
        fs::read(native(&host, &other)).unwrap(),
    );
    let flipped = |step: usize| {
        let mut bytes = good.clone();
        bytes
            .iter_mut()
            .step_by(step)
            .for_each(|byte| *byte ^= 0x5a);
        bytes
    };
    for (name, spoilt) in [
        ("a bit in a page", flipped(4096)),
        ("one byte", flipped(good.len())),
        ("cut", good[..good.len() / 2].to_vec()),
        ("the end cut off", good[..good.len() - 1].to_vec()),
        ("empty", Vec::new()),
        ("zeroed", vec![0; good.len()]),
        ("another component's", others),
    ] {
        assert!(host.terminate().await.success());
        fs::write(&file, spoilt).unwrap();
        host.boot().await;
        let log = host.whole_log().await;
        assert!(log.contains("recompiling"), "{name}: {log}");
        let answer = host.get("/hello").await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert!(answer.text().contains("wstd"), "{name}: {}", answer.text());
        assert_eq!(host.get("/other").await.status, 200);
    }
    assert!(host.terminate().await.success());
    host.boot().await;
    let log = host.whole_log().await;
    assert!(!log.contains("recompiling"), "{log}");

    // A rollback meets it as well.
    host.deploy("hello", &other).await;
    fs::write(&file, flipped(4096)).unwrap();
    let back = host.cli("rollback", &["hello"]).await;
    assert!(back.status.success(), "{back:?}");
    assert!(host.get("/hello").await.text().contains("wstd"));
    // And a deploy of what is there already.
    let third = variant(&hello, "third");
    put(&host, "/windows/third", &third).await;
    let removed = host.cli("remove", &["third", "--yes"]).await;
    assert!(removed.status.success());
}

#[tokio::test]
async fn damaged_component_is_repaired_by_deploying_it_again() {
    let hello = guest("hello-wstd").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    assert!(host.terminate().await.success());
    damage(&host, &hello);
    host.boot().await;
    assert_eq!(host.get("/hello").await.problem(), "window-not-deployed");
    let log = host.whole_log().await;
    assert!(
        log.contains("is damaged") && log.contains("deploy"),
        "{log}"
    );
    assert_eq!(host.deploy("hello", &hello).await, 2);
    assert_eq!(host.get("/hello").await.status, 200);
    assert!(fs::read(artifact(&host, &hello)).unwrap() == hello);

    // Though its native code is whole.
    fs::write(artifact(&host, &hello), b"").unwrap();
    host.deploy("hello", &hello).await;
    assert!(fs::read(artifact(&host, &hello)).unwrap() == hello);
}

#[tokio::test]
async fn damaged_component_is_repaired_from_the_watched_folder() {
    let hello = guest("hello-wstd").await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hello.wasm"), &hello).unwrap();
    let mut host = Host::start_with(Options {
        args: vec!["--windows".into(), folder.path().display().to_string()],
        routes: vec![("hello.yaml", open_route("hello"))],
        ..Default::default()
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 200);
    assert!(host.terminate().await.success());
    damage(&host, &hello);
    host.boot().await;
    assert_eq!(host.get("/hello").await.status, 200, "{}", host.log());
}

#[tokio::test]
async fn unloadable_candidate_ends_its_canary_and_the_live_release_serves() {
    let hello = guest("hello-wstd").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    for restart in [true, false] {
        let mark = format!("candidate {restart}");
        let candidate = variant(&hello, &mark);
        put(&host, "/windows/hello?canary=5%25", &candidate).await;
        let number = host.window("hello").await.canary.unwrap().number;
        if restart {
            assert!(host.terminate().await.success());
            damage(&host, &candidate);
            host.boot().await;
        } else {
            assert!(host.cli("stop", &["hello"]).await.status.success());
            // Nothing of it is in memory any more once it has drained.
            eventually("it has drained", || async {
                let draining = host.window("hello").await.draining;
                draining.is_empty().then_some(())
            })
            .await;
            damage(&host, &candidate);
            let started = host.cli("start", &["hello"]).await;
            assert!(started.status.success(), "{started:?}");
        }
        assert_eq!(host.get("/hello").await.status, 200);
        let shown = host.window_and_releases("hello").await;
        assert_eq!(shown.window.canary, None);
        assert_eq!(live(&shown), Some(1));
        let outcome = outcome(&shown, number);
        assert!(outcome.contains("could not be loaded"), "{outcome}");
    }
    // It is not tried again, and others can be deployed.
    assert!(host.terminate().await.success());
    host.boot().await;
    let log = host.whole_log().await;
    assert!(!log.contains("canary ends"), "{log}");
    host.deploy("hello", &variant(&hello, "next")).await;
}

#[tokio::test]
async fn damaged_past_release_closes_nothing_and_a_damaged_live_one_falls_back_if_allowed() {
    let hello = guest("hello-wstd").await;
    let [second, third] = ["second", "third"].map(|mark| variant(&hello, mark));
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    host.deploy("hello", &second).await;
    put(&host, "/windows/hello?fallback=true", &third).await;
    assert!(host.terminate().await.success());
    damage(&host, &second);
    host.boot().await;
    assert_eq!(live(&host.window_and_releases("hello").await), Some(3));
    let refused = host.cli("rollback", &["hello"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is damaged"));
    assert_eq!(live(&host.window_and_releases("hello").await), Some(3));
    assert_eq!(host.get("/hello").await.status, 200);

    // The live one goes too: the one before it is damaged, and the one before that serves.
    assert!(host.terminate().await.success());
    damage(&host, &third);
    host.boot().await;
    assert_eq!(host.get("/hello").await.status, 200, "{}", host.log());
    let shown = host.window_and_releases("hello").await;
    assert_eq!(live(&shown), Some(1));
    assert!(outcome(&shown, 3).contains("fell back to 2"), "{shown:?}");
    assert!(outcome(&shown, 2).contains("fell back to 1"), "{shown:?}");
}

#[tokio::test]
async fn disk_without_room_for_native_code_ends_no_canary_and_blames_no_component() {
    let hello = guest("hello-wstd").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let candidate = variant(&hello, "candidate");
    put(&host, "/windows/hello?canary=5%25", &candidate).await;
    let incoming = host.data().join("artifacts/incoming");
    let stop = async || {
        assert!(host.cli("stop", &["hello"]).await.status.success());
        eventually("it has drained", || async {
            let draining = host.window("hello").await.draining;
            draining.is_empty().then_some(())
        })
        .await;
        fs::remove_file(native(&host, &candidate)).unwrap();
        fs::remove_dir(&incoming).unwrap();
    };
    stop().await;
    let started = host.cli("start", &["hello"]).await;
    assert!(started.status.success(), "{started:?}");
    assert_eq!(host.get("/hello").await.status, 200);
    let shown = host.window_and_releases("hello").await;
    assert_eq!((outcome(&shown, 2), live(&shown)), ("", Some(1)));
    let full = host.admin(Method::POST, "/windows/hello/promote", "").await;
    assert_eq!(
        (full.status.as_u16(), full.problem()),
        (507, "disk".into()),
        "{}",
        full.text()
    );

    fs::create_dir(&incoming).unwrap();
    let promoted = host.admin(Method::POST, "/windows/hello/promote", "").await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    assert_eq!(live(&host.window_and_releases("hello").await), Some(2));
    stop().await;
    let full = host.admin(Method::POST, "/windows/hello/start", "").await;
    assert_eq!(
        (full.status.as_u16(), full.problem()),
        (507, "disk".into()),
        "{}",
        full.text()
    );
}

#[tokio::test]
async fn disk_without_room_for_native_code_causes_no_lasting_fallback() {
    let hello = guest("hello-wstd").await;
    let mut host = Host::with_open_windows(&[("hello", &hello)]).await;
    let second = variant(&hello, "second");
    put(&host, "/windows/hello?fallback=true", &second).await;
    assert!(host.terminate().await.success());
    let file = native(&host, &second);
    fs::remove_file(&file).unwrap();
    // Nothing can be put in its place.
    fs::create_dir_all(file.join("in the way")).unwrap();
    host.boot().await;
    assert_eq!(host.get("/hello").await.problem(), "window-not-deployed");
    let log = host.whole_log().await;
    assert!(log.contains("`hms start hello` tries again"), "{log}");
    fs::remove_dir_all(&file).unwrap();
    assert!(host.cli("start", &["hello"]).await.status.success());
    assert_eq!(host.get("/hello").await.status, 200);
    let shown = host.window_and_releases("hello").await;
    assert_eq!((outcome(&shown, 2), live(&shown)), ("", Some(2)));
}

#[tokio::test]
async fn unreadable_record_closes_its_window_alone_and_is_not_overwritten() {
    let hello = guest("hello-wstd").await;
    let windows: [(&str, &[u8]); 2] = [("broken", &hello), ("other", &hello)];
    let mut host = Host::with_open_windows(&windows).await;
    assert!(host.terminate().await.success());
    let newer = br#"{"next": 2, "live": "of a newer form"}"#;
    let file = host.data().join("host.redb");
    let open = || open_file(&file, "host", StoreLimits::default()).unwrap();
    let set = Op::Set {
        bucket: "windows".into(),
        key: "broken".into(),
        value: newer.to_vec(),
    };
    open().write(vec![set]).await.unwrap();
    host.boot().await;
    assert_eq!(host.get("/other").await.status, 200);
    assert_eq!(host.get("/broken").await.problem(), "window-not-deployed");
    let log = host.whole_log().await;
    assert!(log.contains("record of window 'broken'"), "{log}");
    let listed = host.admin(Method::GET, "/windows", b"").await.text();
    assert!(listed.contains(r#""state": "unreadable""#), "{listed}");
    let metrics = host.admin(Method::GET, "/metrics", b"").await.text();
    assert!(metrics.contains(r#"hms_window_open{window="broken"} 0"#));
    let shown = host.admin(Method::GET, "/windows/broken", b"").await;
    assert_eq!(shown.problem(), "record-unreadable");
    let log = host.whole_log().await;
    assert!(!log.contains("admin: a change failed"), "{log}");
    for (method, path, body) in [
        (Method::PUT, "/windows/broken?yes=true", &hello[..]),
        (Method::POST, "/windows/broken/stop", b""),
        (Method::PATCH, "/windows/broken/limits", br#"{"queue": 1}"#),
    ] {
        let refused = host.admin(method, path, body).await;
        assert_eq!(refused.problem(), "record-unreadable", "{path}");
        assert!(refused.text().contains("hms remove broken"));
    }
    assert!(host.terminate().await.success());
    let kept = open().get("windows", "broken").wait().unwrap().unwrap();
    assert_eq!(kept.value, newer);
    host.boot().await;
    assert!(
        host.cli("remove", &["broken", "--yes"])
            .await
            .status
            .success()
    );
    host.deploy("broken", &hello).await;
    assert_eq!(host.get("/broken").await.status, 200);
}
