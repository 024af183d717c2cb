//! A backup of a running host holds each store as one commit left it, is refused when it is not
//! whole, and becomes a host that goes on where the other was.

use hms_api::{FileState, RouteDetail};
use hms_harness::host::{Options, open_route};
use hms_harness::{Host, eventually, guest, window};
use http::Method;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use tempfile::TempDir;

const PAYMENTS: &str = "uri: /api/v1/payments/**\nupstream: http://hms-svc-payments\nplugins:\n  - auth\n  - idempotency\n";

/// The exit status of a backup that lacks something.
const INCOMPLETE: i32 = 3;

pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// `hms backup --verify`.
pub fn verify(backup: &Path) -> Output {
    let mut command = Command::new(hms_harness::hms());
    command.args(["backup", "--verify"]).arg(backup);
    command.stdin(Stdio::null()).output().unwrap()
}

/// `hms restore` into `FOLDER/data`, with its routes beside it.
pub fn restore(backup: &Path, folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(hms_harness::hms());
    command.arg("restore").arg(backup);
    command.arg("--data").arg(folder.join("data"));
    command.arg("--routes").arg(folder.join("routes"));
    command.args(more).stdin(Stdio::null()).output().unwrap()
}

/// A host made of a backup.
pub async fn restored(backup: &Path, more: &[&str]) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let output = restore(backup, folder.path(), more);
    assert!(output.status.success(), "{}", text(&output));
    Host::in_folder(folder).await
}

async fn take(host: &Host, to: &Path) -> Value {
    let output = host.cli("backup", &["--json", to.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn pair(host: &Host, window: &str) -> (u64, u64) {
    let half = async |key: &str| {
        let answer = host.get(&format!("/{window}/kv/pair/{key}")).await;
        answer.text().parse().unwrap_or(0)
    };
    (half("left").await, half("right").await)
}

/// Two values that are written together, again and again, until `ended`. Counts those that were
/// acknowledged.
async fn write_pairs(base: String, window: &str, ended: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    let url = format!("{base}/{window}/kv-many/pair");
    for number in 1_u64.. {
        if ended.load(SeqCst) {
            return;
        }
        let text = number.to_string();
        let both = json!({ "left": text, "right": text }).to_string();
        let headers = [("content-type", "application/json")];
        let sent = hms_harness::http::send(Method::POST, &url, &headers, both.into_bytes());
        let answer = sent.await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        done.store(number, SeqCst);
    }
}

#[tokio::test]
async fn backup_holds_every_serving_route_or_names_the_missing_ones() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("hello", &hello)]).await;
    let (route, folder) = (
        host.routes().join("hello.yaml"),
        tempfile::tempdir().unwrap(),
    );
    fs::remove_file(&route).unwrap();
    std::os::unix::fs::symlink("/nowhere/x", &route).unwrap();
    eventually("the link is seen", || async {
        let shown: RouteDetail = host.admin(Method::GET, "/routes/hello", "").await.read();
        (shown.route.state == FileState::Refused).then_some(())
    })
    .await;
    assert_eq!(host.get("/hello").await.status, 200);
    let whole = folder.path().join("whole");
    take(&host, &whole).await;
    let restored = restored(&whole, &[]).await;
    assert_eq!(restored.get("/hello").await.status, 200);

    host.write_route(
        "ev\nil.yaml",
        "uri: /evil\nupstream: http://hms-svc-hello\nstrip-prefix: /evil\n",
    );
    eventually("the route is live", || async {
        (host.get("/evil").await.status == 200).then_some(())
    })
    .await;
    let lacking = folder.path().join("lacking");
    let output = host.cli("backup", &[lacking.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(INCOMPLETE), "{}", text(&output));
    assert!(text(&output).contains("rename it"), "{}", text(&output));
}

#[tokio::test]
async fn backup_taken_under_writes_restores_the_host_after_kill_9() {
    let prober = guest("prober").await;
    let mut host = Host::start_with(Options {
        routes: vec![
            ("a.yaml", open_route("a")),
            ("b.yaml", open_route("b")),
            ("payments.yaml", PAYMENTS.into()),
        ],
        ..Options::default()
    })
    .await;
    for name in ["a", "b"] {
        host.deploy(name, &prober).await;
        let fill = format!("/{name}/fill/much?count=4000&bytes=4000");
        assert_eq!(host.get(&fill).await.status, 204);
    }
    host.deploy("payments", &window("payments").await).await;
    let limits = host.cli("limits", &["b", "--instances", "17"]).await;
    assert!(limits.status.success(), "{}", text(&limits));
    let scopes = ["--scope", "payments.write", "--scope", "payments.read"];
    let key = host
        .cli_of("key", "add", &[&["robot"], &scopes[..]].concat())
        .await;
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let token = host.token("alice", &["payments.write", "payments.read"]);
    let bearer = format!("Bearer {token}");
    let pay = [
        ("authorization", bearer.as_str()),
        ("idempotency-key", "k-1"),
    ];
    let body = r#"{"amount":42,"purpose":"FOIA copy fee"}"#;
    let paid = host
        .call(Method::POST, "/api/v1/payments", &pay, body)
        .await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    // A longer name than fits the header of a tar.
    let long = format!("{}.yaml", "long-".repeat(30));
    host.write_route(&long, "uri: /long\nupstream: http://hms-svc-a\n");
    // Its last good text serves on.
    host.write_route("b.yaml", "uri: [bad\n");
    eventually("the route is refused", || async {
        let routes = host.admin(Method::GET, "/routes", "").await.text();
        routes.contains("refused").then_some(())
    })
    .await;

    let ended = Arc::new(AtomicBool::new(false));
    let written = ["a", "b"].map(|name| (name, Arc::new(AtomicU64::new(0))));
    let writers = written.clone().map(|(name, done)| {
        let (base, ended) = (host.gateway().to_owned(), ended.clone());
        tokio::spawn(async move { write_pairs(base, name, ended, done).await })
    });
    for (_, done) in &written {
        eventually("something is written", || async {
            (done.load(SeqCst) > 3).then_some(())
        })
        .await;
    }
    let before = written.clone().map(|(_, done)| done.load(SeqCst));
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    let said = take(&host, &backup).await;
    let after = written.clone().map(|(_, done)| done.load(SeqCst));
    ended.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(said["complete"], true, "{said}");
    let checked = verify(&backup);
    assert!(checked.status.success(), "{}", text(&checked));
    assert!(!backup.join("artifacts/native").exists());
    host.kill();

    let host = restored(&backup, &[]).await;
    for (index, (name, _)) in written.iter().enumerate() {
        let (left, right) = pair(&host, name).await;
        assert_eq!(left, right, "no half of a write");
        let between = before[index]..=after[index] + 1;
        assert!(between.contains(&left), "{name}: {left} of {between:?}");
        let scan = host.get(&format!("/{name}/scan/much")).await.text();
        assert_eq!(scan, "4000 keys\n");
    }
    let again = host
        .call(Method::POST, "/api/v1/payments", &pay, body)
        .await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.text(), paid.text());
    let by_key = [("x-api-key", key.as_str())];
    let location = format!(
        "/api/v1{}",
        paid.header("location").trim_start_matches("/api/v1")
    );
    let shown = host
        .call(Method::GET, "/api/v1/payments", &by_key, "")
        .await;
    assert!(
        ![401, 403].contains(&shown.status.as_u16()),
        "{}",
        shown.status
    );
    let bearer_only = &pay[..1];
    let shown = host.call(Method::GET, &location, bearer_only, "").await;
    assert_eq!(shown.status, 200, "{location}: {}", shown.text());
    let windows = host
        .admin(Method::GET, "/windows/b/limits", "")
        .await
        .text();
    assert!(windows.contains("17"), "{windows}");
    let routes = host.admin(Method::GET, "/routes", "").await.text();
    assert!(routes.contains(&long), "{routes}");
    // It goes on: a deploy is the next release.
    assert_eq!(host.deploy("a", &prober).await, 2);
}

fn spoil(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 3]).unwrap();
}

#[tokio::test]
async fn damaged_store_is_reported_and_the_rest_is_backed_up() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("good", &prober), ("bad", &prober)]).await;
    for name in ["good", "bad"] {
        let put = format!("/{name}/kv/b/k");
        assert_eq!(host.call(Method::PUT, &put, &[], name).await.status, 204);
    }
    host.kill();
    spoil(&host.data().join("windows/bad/store.redb"));
    host.boot().await;
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    let taken = host.cli("backup", &[backup.to_str().unwrap()]).await;
    for output in [taken, verify(&backup)] {
        assert_eq!(output.status.code(), Some(INCOMPLETE), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("windows/bad/store.redb") && said.contains("damaged"),
            "{said}"
        );
    }
    let target = tempfile::tempdir().unwrap();
    let refused = restore(&backup, target.path(), &[]);
    assert!(!refused.status.success());
    assert!(
        text(&refused).contains("--allow-incomplete"),
        "{}",
        text(&refused)
    );
    let left = fs::read_dir(target.path()).unwrap().count();
    assert_eq!(left, 0, "a restore that is refused makes nothing");
    let said = restore(&backup, target.path(), &["--allow-incomplete"]);
    assert!(said.status.success(), "{}", text(&said));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("  windows/bad/store.redb (") && said.contains("with an empty store"),
        "{said}"
    );
    let target = tempfile::tempdir().unwrap();
    let said = restore(&backup, target.path(), &["--allow-incomplete", "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["complete"], false, "{said}");
    assert_eq!(said["missing"][0]["path"], "windows/bad/store.redb");
    let host = restored(&backup, &["--allow-incomplete"]).await;
    assert_eq!(host.get("/good/kv/b/k").await.text(), "good");
    assert_eq!(
        host.get("/bad/kv/b/k").await.status,
        404,
        "it is empty, as was said"
    );
}

/// Everything of a small host, as a folder.
async fn small(dir: &TempDir) -> (Host, PathBuf) {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    let put = host.call(Method::PUT, "/w/kv/b/k", &[], "kept").await;
    assert_eq!(put.status, 204);
    let backup = dir.path().join("backup");
    take(&host, &backup).await;
    (host, backup)
}

#[tokio::test]
async fn damaged_backup_is_rejected_and_leaves_no_data_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (_host, backup) = small(&dir).await;
    let manifest: Value =
        serde_json::from_slice(&fs::read(backup.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let mut paths: Vec<&str> = files
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert!(
        paths.contains(&"windows/w/store.redb") && paths.contains(&"host.redb"),
        "{paths:?}"
    );
    paths.extend(["manifest.json", "manifest.json.sha256"]);
    let refused = |what: &str| {
        let target = tempfile::tempdir().unwrap();
        for output in [verify(&backup), restore(&backup, target.path(), &[])] {
            assert!(!output.status.success(), "{what}");
            assert!(!output.stderr.is_empty(), "{what}");
        }
        let left = fs::read_dir(target.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    };
    for path in paths {
        let place = backup.join(path);
        let good = fs::read(&place).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 4;
        fs::write(&place, flipped).unwrap();
        refused(&format!("a bit of {path} is flipped"));
        fs::remove_file(&place).unwrap();
        refused(&format!("{path} is missing"));
        fs::write(&place, good).unwrap();
    }
    fs::write(backup.join("more"), "").unwrap();
    refused("a file too many");
    fs::remove_file(backup.join("more")).unwrap();
    assert!(verify(&backup).status.success());
}

#[tokio::test]
async fn backup_stream_can_be_stored_piped_and_taken_without_secrets() {
    let prober = guest("prober").await;
    let host = Host::with_open_windows(&[("w", &prober)]).await;
    assert_eq!(
        host.call(Method::PUT, "/w/kv/b/k", &[], "kept")
            .await
            .status,
        204
    );
    let dir = tempfile::tempdir().unwrap();
    let output = host.cli("backup", &["-", "--without-secrets"]).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tar = dir.path().join("backup.tar");
    fs::write(&tar, &output.stdout).unwrap();
    assert!(verify(&tar).status.success());
    // Cut anywhere it is nothing.
    let cut = dir.path().join("cut.tar");
    for part in [4, 2] {
        fs::write(&cut, &output.stdout[..output.stdout.len() / part]).unwrap();
        assert!(!verify(&cut).status.success());
        assert!(!restore(&cut, dir.path(), &[]).status.success());
    }
    // As any tar reads it.
    let unpacked = dir.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tarred = Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .arg("-C")
        .arg(&unpacked)
        .status();
    assert!(tarred.unwrap().success());
    assert!(verify(&unpacked).status.success());
    for secret in ["admin.token", "dev-secret"] {
        assert!(!unpacked.join(secret).exists());
    }
    let target = tempfile::tempdir().unwrap();
    let mut piped = Command::new(hms_harness::hms());
    piped
        .args(["restore", "-", "--data"])
        .arg(target.path().join("data"));
    piped.arg("--routes").arg(target.path().join("routes"));
    let piped = piped.stdin(fs::File::open(&tar).unwrap()).output().unwrap();
    assert!(piped.status.success(), "{}", text(&piped));
    let again = Host::in_folder(target).await;
    assert_eq!(again.get("/w/kv/b/k").await.text(), "kept");
    let token = |host: &Host| fs::read_to_string(host.data().join("admin.token")).unwrap();
    assert_ne!(token(&again), token(&host));
    // A full disk behind the pipe.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = host.hms("backup");
    command
        .arg("-")
        .arg("--admin")
        .arg(host.admin_url())
        .stdout(full);
    let full = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(!full.status.success());
}

#[tokio::test]
async fn target_inside_a_backup_or_host_is_rejected_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let (host, backup) = small(&dir).await;
    for place in [host.data().join("bk"), host.routes().join("bk")] {
        let refused = host.cli("backup", &[place.to_str().unwrap()]).await;
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains("is inside"), "{}", text(&refused));
        assert!(!place.exists());
    }
    let within = backup.join("x");
    let refused = host.cli("backup", &[within.to_str().unwrap()]).await;
    assert!(text(&refused).contains("is inside the backup"));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&backup, &link).unwrap();
    for folder in [&backup, &link] {
        let refused = restore(&backup, folder, &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains("is inside the backup"));
    }
    assert!(verify(&backup).status.success(), "it is as it was");
    // Whatever is packed around a tar.
    let packed = dir.path().join("b.tar.zst");
    fs::write(&packed, b"\x28\xb5\x2f\xfd\x24\xff\xfe\xfd\x1b[31m").unwrap();
    for output in [verify(&packed), restore(&packed, dir.path(), &[])] {
        let said = text(&output);
        assert!(!output.status.success());
        assert!(
            said.contains("zstd -dc FILE | hms backup --verify -"),
            "{said}"
        );
        assert!(!said.contains(['\u{1b}', '\u{fffd}']), "{said}");
    }
    assert!(!dir.path().join("data").exists() && !dir.path().join("routes").exists());
}

#[tokio::test]
async fn full_or_non_empty_target_gets_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (host, backup) = small(&dir).await;
    let over = host.cli("backup", &[backup.to_str().unwrap()]).await;
    assert!(
        !over.status.success() && text(&over).contains("not empty"),
        "{}",
        text(&over)
    );
    assert!(verify(&backup).status.success(), "it is as it was");
    // No file may be larger than 64 KiB, as if the disk were full.
    let target = dir.path().join("small");
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!(
        "trap '' XFSZ; ulimit -f 64; exec {} backup {} --admin {} --data {}",
        hms_harness::hms().display(),
        target.display(),
        host.admin_url(),
        host.data().display()
    ));
    let failed = tokio::task::spawn_blocking(move || shell.output().unwrap())
        .await
        .unwrap();
    assert!(!failed.status.success(), "{}", text(&failed));
    assert!(
        text(&failed).contains("there is no usable backup"),
        "{}",
        text(&failed)
    );
    assert!(!target.exists());
}
