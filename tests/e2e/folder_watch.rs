//! A folder of components is deployed as it is, and nothing half-written or bad from it.

use hms_api::WindowDetail;
use hms_harness::guests::variant;
use hms_harness::host::open_route;
use hms_harness::{Host, Options, eventually, guest};
use http::Method;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A host that watches a folder with these files, and has a route to each of the windows that the
/// tests use.
async fn watching(files: &[(&str, &[u8])]) -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        fs::write(folder.path().join(file), bytes).unwrap();
    }
    let host = Host::start_with(Options {
        args: vec!["--windows".into(), folder.path().display().to_string()],
        routes: vec![
            ("hello.yaml", open_route("hello")),
            ("other.yaml", open_route("other")),
        ],
        up: None,
    })
    .await;
    (folder, host)
}

fn hello(folder: &TempDir) -> PathBuf {
    folder.path().join("hello.wasm")
}

/// The numbers of a window's releases, oldest first, and who deployed the last.
async fn releases(host: &Host, window: &str) -> (Vec<u64>, String) {
    let path = format!("/windows/{window}");
    let answer = host.admin(Method::GET, &path, "").await;
    let releases = match answer.status.is_success() {
        true => answer.read::<WindowDetail>().releases,
        false => Vec::new(),
    };
    let by = releases.last().map(|last| last.by.clone());
    let numbers = releases.iter().map(|release| release.number);
    (numbers.collect(), by.unwrap_or_default())
}

async fn answers(host: &Host, text: &str) {
    eventually(&format!("hello answers '{text}'"), || async {
        host.get("/hello").await.text().contains(text).then_some(())
    })
    .await;
}

/// Drops a component into the folder that was never there, and waits until it is live: whatever was
/// there before has been looked at, and had at least as long to settle.
async fn others_turn(host: &Host, folder: &Path, mark: &str) {
    let (before, _) = releases(host, "other").await;
    fs::write(
        folder.join("other.wasm"),
        variant(&guest("hello-wstd").await, mark),
    )
    .unwrap();
    eventually("the other component is live", || async {
        (releases(host, "other").await.0.len() > before.len()).then_some(())
    })
    .await;
}

async fn refused(host: &Host) -> String {
    let metrics = host
        .admin_request(Method::GET, "/metrics", &[], Vec::new())
        .await
        .text();
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("hms_watched_files_refused "));
    line.unwrap_or_else(|| panic!("no such metric in {metrics}"))
        .to_owned()
}

#[tokio::test]
async fn added_or_replaced_component_is_live_under_its_file_name() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let (folder, host) = watching(&[]).await;
    fs::write(hello(&folder), &older).unwrap();
    answers(&host, "wstd").await;
    assert_eq!(
        releases(&host, "hello").await,
        (vec![1], "folder watch".into())
    );

    // The same bytes once more are no release: the next one is the second.
    fs::write(hello(&folder), &older).unwrap();
    others_turn(&host, folder.path(), "1").await;
    let draft = folder.path().join("draft");
    fs::write(&draft, &newer).unwrap();
    fs::rename(&draft, hello(&folder)).unwrap();
    answers(&host, "wasip3").await;
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);

    fs::remove_file(hello(&folder)).unwrap();
    others_turn(&host, folder.path(), "2").await;
    assert_eq!(
        host.get("/hello").await.status,
        200,
        "only `hms remove` takes a window away"
    );
}

#[tokio::test]
async fn half_written_file_is_not_deployed_however_long_its_writer_pauses() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    // The first piece is a whole component in itself.
    let newest = variant(&newer, "all of it");
    let (folder, host) = watching(&[("hello.wasm", &older)]).await;
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(hello(&folder))
        .unwrap();
    let middle = newer.len() / 2;
    let pieces = [
        &newest[..middle],
        &newest[middle..newer.len()],
        &newest[newer.len()..],
    ];
    for (pause, piece) in pieces.iter().enumerate() {
        file.write_all(piece).unwrap();
        others_turn(&host, folder.path(), &format!("{pause}")).await;
        assert!(
            host.get("/hello").await.text().contains("wstd"),
            "after piece {pause}"
        );
    }
    drop(file);
    answers(&host, "wasip3").await;
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);
    let log = host.whole_log().await;
    assert!(!log.contains("not deployed"), "{log}");
}

#[tokio::test]
async fn refused_file_keeps_the_old_release_and_is_reported_once() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let (folder, host) = watching(&[("hello.wasm", &older)]).await;
    fs::write(folder.path().join("Bad Name.wasm"), &older).unwrap();
    fs::write(hello(&folder), &newer[..newer.len() / 2]).unwrap();
    eventually("the refusal is counted", || async {
        (refused(&host).await == "hms_watched_files_refused 2").then_some(())
    })
    .await;
    others_turn(&host, folder.path(), "1").await;
    others_turn(&host, folder.path(), "2").await;
    let log = host.whole_log().await;
    let said = |file: &str| {
        let what = format!("{file} was not deployed");
        log.lines()
            .filter(|line| line.contains(&what))
            .collect::<Vec<_>>()
    };
    let (cut, name) = (said("hello.wasm"), said("Bad Name.wasm"));
    assert!(
        cut.len() == 1 && cut[0].contains("refused") && cut[0].contains("release 1 stays"),
        "{log}"
    );
    assert!(
        name.len() == 1 && name[0].contains("'Bad Name' cannot be a window's name"),
        "{log}"
    );
    assert!(host.get("/hello").await.text().contains("wstd"));

    fs::write(hello(&folder), &newer).unwrap();
    answers(&host, "wasip3").await;
    fs::remove_file(folder.path().join("Bad Name.wasm")).unwrap();
    eventually("nothing is refused any more", || async {
        (refused(&host).await == "hms_watched_files_refused 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn file_that_could_do_more_is_refused_with_what_is_asked_and_how_to_agree() {
    let hello_guest = guest("hello-wstd").await;
    let grants = b"outbound: [{to: https://a.example}]\n";
    let (folder, host) = watching(&[("hello.wasm", &hello_guest), ("hello.yaml", grants)]).await;
    fs::write(hello(&folder), guest("prober").await).unwrap();
    eventually("the file is refused", || async {
        (refused(&host).await == "hms_watched_files_refused 1").then_some(())
    })
    .await;
    let log = host.whole_log().await;
    let said = "hello.wasm was not deployed: release 2 imports wasi:";
    let line = log.lines().find(|line| line.contains(said));
    let line = line.unwrap_or_else(|| panic!("nothing is asked:\n{log}"));
    let file = hello(&folder).display().to_string();
    for part in [
        "imports wasi:http/client: it may now GET and HEAD https://a.example on every path (",
        "hello.yaml:1); ",
        &format!("to allow this, run `hms deploy {file} --as hello --yes`; release 1 stays"),
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(releases(&host, "hello").await.0, [1]);
    let agreed = host.cli("deploy", &[&file, "--as", "hello", "--yes"]).await;
    assert!(agreed.status.success(), "{agreed:?}");
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);
}

#[tokio::test]
async fn new_files_are_deployed_before_the_host_is_ready_and_no_rollback_is_undone() {
    let (older, newer) = (guest("hello-wstd").await, guest("hello-wasip3").await);
    let (folder, mut host) = watching(&[("hello.wasm", &older)]).await;
    assert!(
        host.get("/hello").await.text().contains("wstd"),
        "it is ready, so it has caught up"
    );
    fs::write(hello(&folder), &newer).unwrap();
    answers(&host, "wasip3").await;
    assert!(host.cli("rollback", &["hello"]).await.status.success());
    fs::write(folder.path().join("other.wasm"), &newer).unwrap();
    host.kill();
    host.boot().await;
    assert_eq!(releases(&host, "other").await.0.len(), 1);
    assert!(
        host.get("/hello").await.text().contains("wstd"),
        "a restart is no deploy"
    );
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);

    // Nor is another mode, nor a file that is younger than its release by the clock, as after a
    // jump back of that.
    fs::set_permissions(hello(&folder), fs::Permissions::from_mode(0o600)).unwrap();
    others_turn(&host, folder.path(), "1").await;
    assert!(host.get("/hello").await.text().contains("wstd"));

    // Nor a folder that was away for a time, as a network file system may be, with the file as it
    // was.
    let away = tempfile::tempdir().unwrap();
    let (shown, hidden) = (folder.path(), away.path().join("folder"));
    fs::rename(shown, &hidden).unwrap();
    fs::create_dir(shown).unwrap();
    others_turn(&host, shown, "in the empty folder").await;
    fs::remove_dir_all(shown).unwrap();
    fs::rename(&hidden, shown).unwrap();
    others_turn(&host, shown, "2").await;
    assert!(host.get("/hello").await.text().contains("wstd"));
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);

    host.kill();
    fs::copy(hello(&folder), folder.path().join("copy")).unwrap();
    fs::rename(folder.path().join("copy"), hello(&folder)).unwrap();
    host.boot().await;
    assert!(host.get("/hello").await.text().contains("wstd"));
    assert_eq!(releases(&host, "hello").await.0, [1, 2]);

    // Nor does it bring back what was removed.
    let removed = host.cli("remove", &["other", "--yes"]).await;
    assert!(removed.status.success());
    let said = String::from_utf8(removed.stdout).unwrap();
    let expected = format!(
        "other.wasm is still in {}; it is deployed again when it changes",
        folder.path().display()
    );
    assert!(said.contains(&expected), "{said}");
    host.kill();
    host.boot().await;
    assert_eq!(host.get("/other").await.problem(), "window-not-deployed");

    host.kill();
    fs::write(
        hello(&folder),
        variant(&newer, "changed while the host was away"),
    )
    .unwrap();
    host.boot().await;
    assert!(host.get("/hello").await.text().contains("wasip3"));
    assert_eq!(releases(&host, "hello").await.0, [1, 2, 3]);
}

/// As long as the window was there, its file was refused because it needs more. Without it nothing
/// would ask for consent.
#[tokio::test]
async fn never_deployed_file_does_not_return_for_a_removed_window() {
    let needs_more = guest("kv-draft").await;
    let (folder, mut host) = watching(&[]).await;
    host.deploy("hello", &guest("hello-wstd").await).await;
    fs::write(hello(&folder), &needs_more).unwrap();
    eventually("the refusal is counted", || async {
        (refused(&host).await == "hms_watched_files_refused 1").then_some(())
    })
    .await;
    let answer = host.admin(Method::DELETE, "/windows/hello", "").await;
    let left = &answer.json()["left"];
    assert_eq!(
        (&left["file"], &left["deployed_again"]),
        (&"hello.wasm".into(), &"when it changes".into())
    );
    others_turn(&host, folder.path(), "1").await;
    for start in ["first", "second"] {
        host.kill();
        host.boot().await;
        others_turn(&host, folder.path(), start).await;
        assert_eq!(host.get("/hello").await.problem(), "window-not-deployed");
    }
    // A folder that is mounted after the start brings nothing back either.
    let away = tempfile::tempdir().unwrap();
    let hidden = away.path().join("folder");
    host.kill();
    fs::rename(folder.path(), &hidden).unwrap();
    fs::create_dir(folder.path()).unwrap();
    host.boot().await;
    fs::remove_dir(folder.path()).unwrap();
    fs::rename(&hidden, folder.path()).unwrap();
    others_turn(&host, folder.path(), "3").await;
    assert_eq!(host.get("/hello").await.problem(), "window-not-deployed");

    fs::write(hello(&folder), &needs_more).unwrap();
    eventually("a file that is written again is deployed", || async {
        (host.get("/hello").await.status != 503).then_some(())
    })
    .await;
    let nothing = host.admin(Method::DELETE, "/windows/other", "").await;
    assert_eq!(nothing.json()["left"]["file"], "other.wasm");
    host.deploy("third", &needs_more).await;
    let nothing = host.admin(Method::DELETE, "/windows/third", "").await;
    assert!(nothing.json()["left"].is_null(), "{}", nothing.text());
}

/// `my_desk.wasm` is window `my-desk`, and the ending is taken in any case.
#[tokio::test]
async fn removed_window_stays_away_across_a_restart_however_its_file_is_spelled() {
    let component = guest("hello-wstd").await;
    let files = [("my_desk.wasm", &*component), ("hello.WASM", &*component)];
    let (_folder, mut host) = watching(&files).await;
    for window in ["my-desk", "hello"] {
        let removed = host.cli("remove", &[window, "--yes"]).await;
        assert!(removed.status.success(), "{window}");
    }
    // Twice: the first start must not forget it.
    for start in 0..2 {
        host.kill();
        host.boot().await;
        for window in ["my-desk", "hello"] {
            let (numbers, _) = releases(&host, window).await;
            assert!(numbers.is_empty(), "{window}, start {start}");
        }
    }
}

#[tokio::test]
async fn missing_windows_folder_is_reported_at_startup() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("routes")).unwrap();
    let output = std::process::Command::new(hms_harness::hms())
        .args(["serve", "--windows", "nowhere", "--routes", "routes"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("the windows folder nowhere does not exist"),
        "{said}"
    );
}
