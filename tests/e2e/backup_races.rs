//! What goes on while a backup is taken: a slow reader, a second one, operators, signals.

use super::backup::{restored, text, verify};
use hms_api::WindowList;
use hms_harness::backup::Reader;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn store(host: &Host, window: &str) -> PathBuf {
    host.data().join("windows").join(window).join("store.redb")
}

async fn put(host: &Host, window: &str, value: impl Into<Vec<u8>>) {
    let path = format!("/{window}/kv/b/k");
    let answer = host.call(Method::PUT, &path, &[], value).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn fill(host: &Host, window: &str, count: usize) {
    let path = format!("/{window}/fill/much?count={count}&bytes=4000");
    assert_eq!(host.get(&path).await.status, 204);
}

async fn counted(host: &Host, outcome: &str) -> Option<u64> {
    let sample = format!("hms_backups_total{{outcome=\"{outcome}\"}}");
    host.metric(&sample).await
}

#[tokio::test]
async fn window_changed_during_a_backup_is_in_it_whole_or_not_at_all() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("a", &prober), ("z", &prober)]).await;
    for file in ["m.yaml", "kept.yaml"] {
        let name = file.trim_end_matches(".yaml");
        host.write_route(file, &hms_harness::host::open_route(name));
    }
    fill(&host, "a", 8000).await;
    put(&host, "z", "gone").await;
    host.deploy("kept", &prober).await;
    put(&host, "kept", "kept").await;
    let mut reader = Reader::begin(&host).await;
    reader.read_to("windows/a/store.redb").await;
    for name in ["a", "z"] {
        let path = format!("/windows/{name}?store=delete");
        let removed = host.admin(Method::DELETE, &path, "").await;
        assert_eq!(removed.status, 200, "{}", removed.text());
    }
    let removed = host.admin(Method::DELETE, "/windows/kept", "").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    host.deploy("m", &prober).await;
    put(&host, "m", "new").await;
    let stream = reader.rest().await;
    let dir = tempfile::tempdir().unwrap();
    let tar = dir.path().join("backup.tar");
    fs::write(&tar, stream).unwrap();
    let checked = verify(&tar);
    assert!(checked.status.success(), "{}", text(&checked));

    let again = restored(&tar, &[]).await;
    let list: WindowList = again.admin(Method::GET, "/windows", "").await.read();
    let names: Vec<&str> = list.windows.iter().map(|window| &*window.name).collect();
    assert_eq!(names, ["m"]);
    assert_eq!(again.get("/m/kv/b/k").await.text(), "new");
    assert!(!store(&again, "a").exists() && !store(&again, "z").exists());
    // Its store was kept when it was removed.
    again.deploy("kept", &prober).await;
    assert_eq!(again.get("/kept/kv/b/k").await.text(), "kept");
}

#[tokio::test]
async fn interrupted_backup_leaves_nothing_and_ends_at_the_host_too() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("a", &prober)]).await;
    fill(&host, "a", 4000).await;
    assert!(host.terminate().await.success());
    // Each page takes so long that it is met in the middle of the copy.
    host.boot_with(&[("HMS_SLOW_STORE", "a:1")]).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-QUIT", 131)] {
        let failed = counted(&host, "failed").await.unwrap();
        let mut command = host.hms("backup");
        command.arg(&target).arg("--admin").arg(host.admin_url());
        command.stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        eventually("the host is at it", || async {
            target.join("backup.json").exists().then_some(())
        })
        .await;
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(sent.unwrap().success());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let ended = ended.await.unwrap();
        assert_eq!(ended.status.code(), Some(status), "{}", text(&ended));
        let said = text(&ended);
        assert!(said.contains("interrupted by SIG"), "{said}");
        assert!(
            !said.contains("damaged") && !said.contains("cut short"),
            "{said}"
        );
        assert!(!target.exists());
        eventually("the host has ended it", || async {
            (counted(&host, "failed").await > Some(failed)).then_some(())
        })
        .await;
    }
    // A stream has nothing to take away: the system ends it, even where nobody reads.
    let failed = counted(&host, "failed").await.unwrap();
    let mut command = host.hms("backup");
    command.arg("-").arg("--admin").arg(host.admin_url());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut child, _stdout) = tokio::task::spawn_blocking(move || {
        stdout.read_exact(&mut [0; 512]).unwrap();
        (child, stdout)
    })
    .await
    .unwrap();
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(sent.unwrap().success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(ended.await.unwrap().signal(), Some(2));
    eventually("the host has ended it", || async {
        (counted(&host, "failed").await > Some(failed)).then_some(())
    })
    .await;
    // One that is killed leaves what is no backup.
    let failed = counted(&host, "failed").await.unwrap();
    let mut command = host.hms("backup");
    command.arg(&target).arg("--admin").arg(host.admin_url());
    let mut child = command.spawn().unwrap();
    eventually("the host is at it", || async {
        target.join("backup.json").exists().then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let checked = verify(&target);
    assert!(
        !checked.status.success() && text(&checked).contains("not complete"),
        "{}",
        text(&checked)
    );
    eventually("the host has ended it", || async {
        (counted(&host, "failed").await > Some(failed)).then_some(())
    })
    .await;
    // The end of the host does not wait for a backup.
    let held = Reader::begin(&host).await;
    let begun = Instant::now();
    assert!(host.terminate().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
}
