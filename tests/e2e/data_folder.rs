//! The data folder is its user's alone, whatever it was before, and what a crash left in it is no
//! credential.

use hms_harness::{Host, guest};
use http::Method;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every file and folder below `path`, and it itself, that others can do anything with.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    if mode(path) & 0o077 != 0 {
        found.push(format!("{} {:o}", path.display(), mode(path)));
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            open_to_others(&entry.unwrap().path(), found);
        }
    }
}

#[tokio::test]
async fn data_folder_readable_by_others_is_made_private_with_its_content() {
    let prober = guest("prober").await;
    let mut host = Host::with_open_windows(&[("w", &prober)]).await;
    let put = host.call(Method::PUT, "/w/kv/b/k", &[], "private").await;
    assert_eq!(put.status, 204);
    let mut found = Vec::new();
    open_to_others(&host.data(), &mut found);
    assert_eq!(found, [""; 0], "made by the host");

    assert!(host.terminate().await.success());
    chmod(&host.data(), 0o755);
    chmod(&host.data().join("windows/w/store.redb"), 0o644);
    chmod(&host.data().join("admin.token"), 0o644);
    host.boot().await;
    open_to_others(&host.data(), &mut found);
    assert_eq!(found, [""; 0]);
    let log = host.whole_log().await;
    assert!(log.contains("was readable by other users"), "{log}");
    assert_eq!(host.get("/w/kv/b/k").await.text(), "private");
}

#[tokio::test]
async fn writable_content_of_a_readable_data_folder_keeps_the_host_from_starting() {
    let mut host = Host::start().await;
    assert!(host.terminate().await.success());
    chmod(&host.data(), 0o755);
    let native = host.data().join("artifacts/native");
    chmod(&native, 0o777);
    for _ in 0..2 {
        let output = host
            .hms("serve")
            .args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--routes")
            .arg(host.data())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("chmod -R go="),
            "{said}"
        );
        assert_eq!((mode(&host.data()), mode(&native)), (0o755, 0o777));
    }
}

#[tokio::test]
async fn data_folder_writable_by_others_is_rejected_with_what_to_do() {
    let mut host = Host::start().await;
    assert!(host.terminate().await.success());
    for open in [0o777, 0o770, 0o1777] {
        chmod(&host.data(), open);
        let output = host
            .hms("serve")
            .args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--routes")
            .arg(host.routes())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("chmod 700"), "{open:o}: {said}");
        assert_eq!(mode(&host.data()), open, "it is left alone");
    }
    chmod(&host.data(), 0o700);
    host.boot().await;
}

#[tokio::test]
async fn operator_files_open_to_every_user_are_reported_at_startup() {
    let mut host = Host::start().await;
    let log = host.whole_log().await;
    assert!(!log.contains("every user of this machine"), "{log}");
    assert!(host.terminate().await.success());
    chmod(&host.routes(), 0o777);
    host.boot().await;
    let log = host.whole_log().await;
    assert!(
        log.contains("the routes folder") && log.contains("every user"),
        "{log}"
    );
}

#[tokio::test]
async fn token_left_empty_by_a_crash_admits_nobody_and_is_replaced() {
    let mut host = Host::start().await;
    let token = || fs::read_to_string(host.data().join("admin.token")).unwrap();
    let before = token();
    host.kill();
    let file = host.data().join("admin.token");
    fs::write(&file, "").unwrap();
    // The command line takes no empty token either.
    let refused = host.hms("windows").output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no token"));
    host.boot().await;
    let log = host.whole_log().await;
    assert!(log.contains("creating a new one"), "{log}");
    for bearer in ["Bearer ", "Bearer", &format!("Bearer {before}")] {
        let headers = [("authorization", bearer)];
        let refused = host
            .admin_request(Method::GET, "/windows", &headers, Vec::new())
            .await;
        assert_eq!(refused.status, 401, "{bearer}");
    }
    assert_eq!(host.admin(Method::GET, "/windows", "").await.status, 200);
}
