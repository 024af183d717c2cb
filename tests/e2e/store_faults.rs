//! A store file that cannot be used closes its own window, with a message; it is never taken for an
//! empty store, and comes back when the fault is gone.

use hms_api::WindowState;
use hms_harness::{Host, eventually, guest};
use http::Method;
use std::fs;
use std::path::PathBuf;

struct Fault {
    name: &'static str,
    /// What is made of the file's bytes; `None` for a folder in its place.
    spoil: fn(&[u8], &[u8]) -> Option<Vec<u8>>,
    says: &'static str,
}

const FAULTS: [Fault; 6] = [
    Fault {
        name: "truncated",
        spoil: |ours, _| Some(ours[..ours.len() / 3].to_vec()),
        says: "is damaged",
    },
    Fault {
        name: "empty",
        spoil: |_, _| Some(Vec::new()),
        says: "is damaged",
    },
    Fault {
        name: "zeroed",
        spoil: |ours, _| Some(vec![0; ours.len()]),
        says: "is damaged",
    },
    Fault {
        name: "random",
        spoil: |ours, _| Some((0..ours.len()).map(|at| (at * 31 % 251) as u8).collect()),
        says: "is damaged",
    },
    Fault {
        name: "another window's",
        spoil: |_, others| Some(others.to_vec()),
        says: "belongs to 'other', not to 'broken'",
    },
    Fault {
        name: "a folder",
        spoil: |_, _| None,
        says: "is unusable",
    },
];

fn file(host: &Host, window: &str) -> PathBuf {
    host.data().join("windows").join(window).join("store.redb")
}

async fn put(host: &Host, window: &str, value: &str) {
    let path = format!("/{window}/kv/b/k");
    let answer = host.call(Method::PUT, &path, &[], value).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn get(host: &Host, window: &str) -> String {
    let answer = host.get(&format!("/{window}/kv/b/k")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn replace(path: &PathBuf, bytes: Option<&[u8]>) {
    match fs::metadata(path) {
        Ok(old) if old.is_dir() => fs::remove_dir(path).unwrap(),
        _ => fs::remove_file(path).unwrap(),
    }
    match bytes {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::create_dir(path).unwrap(),
    }
}

#[tokio::test]
async fn unusable_store_file_closes_its_window_alone_and_recovers() {
    let prober = guest("prober").await;
    let windows: [(&str, &[u8]); 2] = [("broken", &prober), ("other", &prober)];
    let mut host = Host::with_open_windows(&windows).await;
    put(&host, "broken", "ours").await;
    put(&host, "other", "theirs").await;
    for fault in FAULTS {
        assert!(host.terminate().await.success());
        let path = file(&host, "broken");
        let (ours, others) = (
            fs::read(&path).unwrap(),
            fs::read(file(&host, "other")).unwrap(),
        );
        let spoilt = (fault.spoil)(&ours, &others);
        replace(&path, spoilt.as_deref());
        host.boot().await;

        // Whether it is the guest that is told, or the gateway that does not ask it any more: one
        // status.
        for method in [Method::GET, Method::PUT, Method::GET] {
            let refused = host.call(method, "/broken/kv/b/k", &[], "new").await;
            assert_eq!(refused.status, 503, "{}: {}", fault.name, refused.text());
            assert!(!refused.text().contains("store.redb"), "{}", refused.text());
            assert!(!refused.header("retry-after").is_empty());
        }
        assert_eq!(get(&host, "other").await, "theirs", "{}", fault.name);
        // To see whose it is redb opens it, and that it notes in the file.
        if fault.name != "another window's" {
            assert!(fs::read(&path).ok() == spoilt, "{}: touched", fault.name);
        }
        let window = host.window("broken").await;
        assert_eq!(
            window.state,
            WindowState::StoreUnavailable,
            "{}",
            fault.name
        );
        let said = window.store_fault.as_deref().unwrap();
        assert!(said.contains(fault.says), "{}: {said}", fault.name);
        assert!(
            said.contains(path.to_str().unwrap()),
            "{}: {said}",
            fault.name
        );
        let log = host.whole_log().await;
        assert!(log.contains(said), "{}: {log}", fault.name);
        let listed = host.cli("windows", &[]).await;
        assert!(String::from_utf8_lossy(&listed.stdout).contains(said));
        let failures = window.failures;
        assert!(failures.contains_key("store-unavailable"), "{failures:?}");

        // Mended while the host runs.
        replace(&path, Some(&ours));
        eventually("the window is open again", || async {
            let answer = host.get("/broken/kv/b/k").await;
            (answer.status == 200).then(|| assert_eq!(answer.text(), "ours"))
        })
        .await;
        let state = host.window("broken").await.state;
        assert_eq!(state, WindowState::Open, "{}", fault.name);
    }
}
