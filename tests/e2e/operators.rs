//! What an operator does holds: whoever leaves, whatever comes at the same time, and on a full
//! disk.

use hms_harness::http::connect;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tokio::io::AsyncWriteExt;

/// A request that the window has at work for so many tenths of a second.
fn slow(host: &Host, tenths: u32) -> tokio::task::JoinHandle<hms_harness::Answer> {
    let url = format!("{}/w/slow-body?chunks={tenths}&ms=100", host.gateway());
    tokio::spawn(hms_harness::http::request(Method::GET, url, Vec::new()))
}

async fn at_work(host: &Host) {
    eventually("the slow request is at work", || async {
        (host.window("w").await.leases == 1).then_some(())
    })
    .await;
}

async fn put(host: &Host) {
    let written = host.call(Method::PUT, "/w/kv/b/k", &[], "v").await;
    assert_eq!(written.status, 204, "{}", written.text());
}

#[tokio::test]
async fn deploy_that_waited_for_a_removal_is_live_and_survives_a_restart() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    put(&host).await;
    let running = slow(&host, 20);
    at_work(&host).await;
    let removal = host.admin(Method::DELETE, "/windows/w?store=delete", "");
    let deploy = async {
        eventually("the window is closed", || async {
            (host.get("/w/status").await.status == 503).then_some(())
        })
        .await;
        host.deploy("w", &prober).await
    };
    let (removed, release) = tokio::join!(removal, deploy);
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!(running.await.unwrap().cut, None);
    assert_eq!(release, 1, "the first of a new window");
    assert_eq!(host.get("/w/kv/b/k").await.status, 404);
    put(&host).await;
    host.kill();
    host.boot().await;
    assert_eq!(host.get("/w/kv/b/k").await.text(), "v");
}

#[tokio::test]
async fn removal_continues_when_its_client_leaves() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    put(&host).await;
    let store = host.data().join("windows/w/store.redb");
    assert!(store.exists());
    let running = slow(&host, 15);
    at_work(&host).await;
    let token = fs::read_to_string(host.data().join("admin.token")).unwrap();
    let mut client = connect(host.admin_url()).await;
    let request = format!(
        "DELETE /windows/w?store=delete HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("the window is closed", || async {
        (host.get("/w/status").await.status == 503).then_some(())
    })
    .await;
    drop(client);
    assert_eq!(running.await.unwrap().cut, None);
    eventually("the window is gone", || async {
        let shown = host.admin(Method::GET, "/windows/w", "").await;
        (shown.status == 404).then_some(())
    })
    .await;
    assert!(!store.exists());
    host.deploy("w", &prober).await;
    assert_eq!(host.get("/w/kv/b/k").await.status, 404);
}

/// A small disk of its own for the data folder. None where this process may not mount one: the unit
/// tests of the windows and of the keys show the same over a disk that fails on command.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs"])
            .arg(at)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(SmallDisk(at))
    }

    /// Takes all the space there is, to the last block.
    fn fill(&self) {
        let path = self.0.join("filled");
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filled")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn said(output: &std::process::Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn revocation_and_stop_on_a_full_disk_use_the_reserve_and_then_memory() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[]).await;
    assert!(host.terminate().await.success());
    let data = host.data();
    let Some(disk) = SmallDisk::mount(&data) else {
        assert!(
            std::env::var("CI").is_err(),
            "a small disk cannot be mounted here, which this test needs"
        );
        eprintln!("skipped: a small disk cannot be mounted here, which takes root");
        return;
    };
    host.write_route("w.yaml", &hms_harness::host::open_route("w"));
    let keyed = "uri: /k/**\nupstream: http://hms-svc-w\nstrip-prefix: /k\nplugins:\n  - auth: {accept: [key]}\n";
    host.write_route("k.yaml", keyed);
    host.boot().await;
    host.deploy("w", &prober).await;
    let mut keys = Vec::new();
    for user in ["first", "second"] {
        let order = serde_json::json!({ "user": user }).to_string();
        let made = host.admin(Method::POST, "/keys", order).await.json();
        let part = |name: &str| made[name].as_str().unwrap().to_owned();
        keys.push((part("id"), part("key")));
    }
    let by_key = async |host: &Host, key: &str| {
        let headers = [("x-api-key", key)];
        let answer = host.call(Method::GET, "/k/status", &headers, "").await;
        answer.status.as_u16()
    };

    // From the reserve.
    disk.fill();
    let refused = host
        .admin(Method::PUT, "/windows/v?yes=true", &prober[..])
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (507, "disk")
    );
    assert!(data.join("reserve").exists(), "a deploy takes the reserve");
    let stopped = host.admin(Method::POST, "/windows/w/stop", "").await;
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    assert_eq!(stopped.json()["durable"], true);
    assert!(!data.join("reserve").exists());
    assert_eq!(host.get("/w/status").await.status, 503);
    host.kill();
    host.boot().await;
    assert_eq!(host.get("/w/status").await.status, 503);

    // In memory, when the reserve is used up too.
    disk.free();
    let started = host.admin(Method::POST, "/windows/w/start", "").await;
    assert_eq!(started.status, 200, "{}", started.text());
    let _ = fs::remove_file(data.join("reserve"));
    fs::create_dir(data.join("reserve")).unwrap();
    disk.fill();
    assert_eq!(by_key(&host, &keys[0].1).await, 200);
    let revoked = host.cli_of("key", "revoke", &[&keys[0].0]).await;
    let (code, text) = said(&revoked);
    assert!(
        code == Some(75) && text.contains("a restart before that"),
        "{code:?} {text}"
    );
    assert_eq!(by_key(&host, &keys[0].1).await, 401);
    assert_eq!(by_key(&host, &keys[1].1).await, 200);
    let (_, listed) = said(&host.cli_of("key", "list", &[]).await);
    assert!(
        listed.contains("not yet on disk") && listed.contains(&keys[0].0),
        "{listed}"
    );

    let (code, text) = said(&host.cli("stop", &["w"]).await);
    // It may still fit into what redb has of its file.
    if code == Some(75) {
        let (_, listed) = said(&host.cli("windows", &[]).await);
        assert!(listed.contains("not yet on disk"), "{listed}");
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        assert!(
            metrics.contains("hms_unsaved_changes{what=\"window\"} 1"),
            "{metrics}"
        );
    } else {
        assert_eq!(code, Some(0), "{text}");
    }
    assert_eq!(host.get("/w/status").await.status, 503);

    // And on disk, when there is space again.
    disk.free();
    eventually("all is on disk", || async {
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        let settled = metrics.contains("hms_unsaved_changes{what=\"window\"} 0")
            && metrics.contains("hms_unsaved_changes{what=\"key\"} 0");
        settled.then_some(())
    })
    .await;
    host.kill();
    host.boot().await;
    assert_eq!(by_key(&host, &keys[0].1).await, 401);
    assert_eq!(host.get("/w/status").await.status, 503);
    host.kill();
}
