//! What guests find behind the interfaces that they import, with real components: of Spin's SDKs,
//! and one that imports what no SDK here brings.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    reason = "tests, which fail by a panic"
)]

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use hms_core::call::{WindowAnswer, WindowCall, Windows};
use hms_core::error::RequestError;
use hms_core::events::EmitGuard;
use hms_grants::{Grants, LiveGrants, Secret, WindowGrants};
use hms_harness::guests;
use hms_runtime::engine::precompile;
use hms_runtime::log::Level;
use hms_runtime::{
    CpuShares, EngineConfig, Failures, InstanceAtWork, InstanceContext, Instances, LiveLimits,
    Runtime, WindowLimits, WindowLog, native,
};
use hms_store::{StoreLimits, Stores};
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

/// There are no other windows to call.
struct NoWindows;

impl Windows for NoWindows {
    fn call<'a>(&'a self, _: &'a str, _: WindowCall) -> BoxFuture<'a, WindowAnswer> {
        unreachable!("nobody holds one")
    }
}

/// The components' native code by name: compiling takes longest.
static COMPILED: Mutex<BTreeMap<String, Arc<OnceCell<Vec<u8>>>>> =
    Mutex::const_new(BTreeMap::new());

async fn native(folder: &TempDir, guest: &str) -> PathBuf {
    let mut compiled = COMPILED.lock().await;
    let code = compiled.entry(guest.to_owned()).or_default().clone();
    drop(compiled);
    let code = code.get_or_init(|| async {
        let wasm = std::fs::read(guests::path(guest).await).unwrap();
        precompile(&wasm, false).unwrap()
    });
    let path = folder.path().join("native");
    native::write(&path, guest, code.await).unwrap();
    path
}

fn runtime() -> Runtime {
    let config = EngineConfig {
        instances: 8,
        ..EngineConfig::default()
    };
    Runtime::new(&config).unwrap()
}

/// A window with one component, and what a test looks at.
struct Window {
    instances: Instances,
    grants: LiveGrants,
    log: Arc<WindowLog>,
    failures: Arc<Failures>,
    _runtime: Runtime,
    _folder: TempDir,
}

impl Window {
    async fn of(guest: &str, trap_unknown: bool) -> Window {
        Self::guarded(guest, trap_unknown, None).await
    }

    async fn guarded(
        guest: &str,
        trap_unknown: bool,
        emit_guard: Option<Arc<dyn EmitGuard>>,
    ) -> Window {
        let folder = tempfile::tempdir().unwrap();
        let native = native(&folder, guest).await;
        let runtime = runtime();
        let limits: LiveLimits = Arc::new(ArcSwap::from_pointee(WindowLimits::default()));
        let grants = LiveGrants::default();
        let log = Runtime::window_log("w", &limits, &grants);
        let failures = Arc::new(Failures::new(log.clone()));
        let stores = folder.path().join("stores");
        let context = InstanceContext {
            window: "w".into(),
            release: 1,
            stores: Arc::new(Stores::new(stores, StoreLimits::default())),
            log: log.clone(),
            limits,
            grants: grants.clone(),
            windows: Weak::<NoWindows>::new(),
            outgoing: None,
            emit_guard,
            cpu_shares: CpuShares::default(),
            failures: failures.clone(),
            short: Arc::default(),
            usage: Arc::default(),
            at_work: InstanceAtWork::default(),
        };
        let code = match runtime.load(&native, guest, trap_unknown) {
            Ok(code) => code,
            Err(error) => panic!("{guest}: {error}"),
        };
        Window {
            instances: Instances::new(code, context).unwrap(),
            grants,
            log,
            failures,
            _runtime: runtime,
            _folder: folder,
        }
    }

    async fn try_get(&self, path: &str) -> Result<String, RequestError> {
        let request = Request::get(format!("http://w{path}")).body(body::empty());
        self.ask(request.unwrap()).await
    }

    async fn post(&self, path: &str, text: &str) -> String {
        let text = body::full(text.to_owned());
        let request = Request::post(format!("http://w{path}")).body(text);
        self.ask(request.unwrap()).await.unwrap()
    }

    async fn ask(&self, mut request: Request<Body>) -> Result<String, RequestError> {
        let host = HeaderValue::from_static("w");
        request.headers_mut().insert("host", host);
        let mut call = WindowCall::of_client(request);
        let in_flight = self.instances.in_flight(&mut call, (), (), false);
        let answer = self.instances.serve(call.request, in_flight).await?;
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> String {
        match self.try_get(path).await {
            Ok(text) => text.trim_end().to_owned(),
            Err(error) => panic!("{path}: {}\n{:?}", error.in_full(), self.log.lines()),
        }
    }

    fn grant(&self, grants: Grants, secrets: &[(&str, &[u8])]) {
        let secret = |(name, value): &(&str, &[u8])| {
            let name: &str = name;
            (name.to_owned(), Secret::new(value.to_vec()))
        };
        self.grants.store(WindowGrants {
            grants,
            secrets: secrets.iter().map(secret).collect(),
            ..WindowGrants::default()
        });
    }
}

/// `currency` and `time-zone` are configured, and `card-key` is revealed.
fn granted() -> Grants {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Grants {
        config: [pair("currency", "EUR"), pair("time-zone", "CET")].into(),
        env: [pair("LOG_LEVEL", "info")].into(),
        reveal: ["card-key".to_owned(), "binary".to_owned()].into(),
        ..Grants::default()
    }
}

const SECRETS: [(&str, &[u8]); 3] = [
    ("card-key", b"sk_live_42"),
    ("binary", b"\xff\x00"),
    ("hidden", b"hidden value"),
];

#[tokio::test]
async fn spin_components_of_both_generations_find_the_windows_store_and_variables() {
    for guest in ["spin-v2", "spin-v3"] {
        let window = Window::of(guest, false).await;
        assert_eq!(
            window.get("/probe").await,
            "Some([49]) true false None 2 [\"b\", \"c\"]",
            "{guest}"
        );
        assert_eq!(
            window.get("/each?good").await,
            "done invalid done done done"
        );
        assert_eq!(window.get("/each?").await, "invalid invalid done done done");
        assert_eq!(window.get("/open?default").await, "opened");
        assert_eq!(window.get("/open?finance").await, "Error::AccessDenied");
        assert!(window.failures.counts().contains_key("no-such-store"));

        let variable = |name: &'static str| {
            let window = &window;
            async move { window.get(&format!("/variable?{name}")).await }
        };
        assert!(variable("currency").await.contains("Undefined"));
        window.grant(granted(), &SECRETS);
        assert_eq!(variable("currency").await, "Ok(\"EUR\")");
        assert_eq!(variable("time_zone").await, "Ok(\"CET\")");
        assert_eq!(variable("card_key").await, "Ok(\"sk_live_42\")");
        assert!(variable("hidden").await.contains("Undefined"));
        assert!(variable("binary").await.contains("Provider"));
        assert!(variable("time-zone").await.contains("InvalidName"));
    }
}

#[tokio::test]
async fn spins_stores_list_all_their_keys_however_many() {
    let (earlier, later) = (
        Window::of("spin-v2", false).await,
        Window::of("spin-v3", false).await,
    );
    for window in [&earlier, &later] {
        assert_eq!(window.get("/fill?2500").await, "filled");
        assert_eq!(
            window.get("/keys").await,
            "2500 [\"key-000000\", \"key-000001\", \"key-000002\"]"
        );
    }
    // A stream that is not read to its end.
    assert_eq!(
        later.get("/keys?2").await,
        "2 [\"key-000000\", \"key-000001\"]"
    );
}

#[tokio::test]
async fn every_draft_of_wasi_config_reads_the_grants_as_they_are_now() {
    let window = Window::of("importer", true).await;
    let none = "Ok(None) Ok(None) Ok(None)";
    assert_eq!(window.get("/config?name=currency").await, none);
    assert_eq!(window.get("/config-all").await, "Ok([])");
    window.grant(granted(), &SECRETS);
    let text = "Ok(Some(\"EUR\"))";
    assert_eq!(
        window.get("/config?name=currency").await,
        format!("{text} {text} {text}")
    );
    let key = window.get("/config?name=card-key").await;
    assert!(key.starts_with("Ok(Some(\"sk_live_42\"))"), "{key}");
    assert_eq!(window.get("/config?name=hidden").await, none);
    let all = window.get("/config-all").await;
    assert!(
        all.contains("binary: the secret is not UTF-8 text"),
        "{all}"
    );
}

#[tokio::test]
async fn wasmclouds_secrets_are_those_that_are_revealed() {
    let window = Window::of("importer", true).await;
    window.grant(granted(), &SECRETS);
    let secret = |name: &'static str| {
        let window = &window;
        async move { window.get(&format!("/secret?name={name}")).await }
    };
    assert_eq!(
        secret("card-key").await,
        "SecretValue::String(\"sk_live_42\")"
    );
    assert_eq!(secret("binary").await, "SecretValue::Bytes([255, 0])");
    for name in ["hidden", "currency", "none"] {
        assert_eq!(secret(name).await, "SecretsError::NotFound", "{name}");
    }
}

#[tokio::test]
async fn secrets_that_an_instance_holds_count_for_its_memory() {
    let window = Window::of("importer", true).await;
    let large = vec![b'x'; 256 << 10];
    window.grant(granted(), &[("card-key", &large)]);
    let failed = window.try_get("/secrets?name=card-key").await.unwrap_err();
    assert_eq!(failed.code(), "memory-limit");
    window.grant(granted(), &[("card-key", b"small")]);
    assert_eq!(window.get("/secrets?name=card-key").await, "1000");
}

#[tokio::test]
async fn environment_is_that_of_the_grants_in_both_generations_of_wasi() {
    // Rust's own library reads it: by WASI 0.2, and the guest imports 0.3 beside.
    let window = Window::of("importer", true).await;
    assert_eq!(
        window.get("/variable?name=LOG_LEVEL").await,
        "Err(NotPresent)"
    );
    window.grant(granted(), &SECRETS);
    assert_eq!(window.get("/variable?name=LOG_LEVEL").await, "Ok(\"info\")");
    assert_eq!(
        window.get("/variable3?name=LOG_LEVEL").await,
        "Some(\"info\")"
    );
}

#[tokio::test]
async fn log_line_of_a_guest_has_its_level_and_no_revealed_secret() {
    let window = Window::of("importer", true).await;
    window.grant(granted(), &SECRETS);
    window.get("/log?name=key+sk_live_42").await;
    let lines = window.log.lines();
    let said: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(said, ["importer: key ***", "printed key ***"]);
    assert_eq!(lines[0].level.map(Level::as_str), Some("warn"));
}

#[tokio::test]
async fn call_of_an_unknown_function_ends_the_request_and_names_it() {
    let window = Window::of("importer", true).await;
    assert_eq!(window.get("/config-all").await, "Ok([])");
    for (path, function) in [
        ("/door", "acme:vault/doors@1.2.3#find"),
        ("/wait", "acme:vault/doors@1.2.3#wait"),
    ] {
        let failed = window.try_get(path).await.unwrap_err();
        assert_eq!(failed.code(), "unknown-import-called");
        assert!(failed.in_full().contains(function), "{}", failed.in_full());
        assert!(!failed.to_string().contains("acme"), "{failed}");
    }
    assert_eq!(
        window.failures.counts().get("unknown-import-called"),
        Some(&2)
    );
    assert_eq!(window.get("/config-all").await, "Ok([])");
}

#[tokio::test]
async fn unknown_import_is_not_linked_without_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let native = native(&folder, "importer").await;
    let runtime = runtime();
    let stubbed = runtime.load(&native, "importer", true);
    assert!(stubbed.is_ok());
    // Also while the same component is loaded for a window that has it.
    let refused = runtime
        .load(&native, "importer", false)
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("acme:vault/doors@1.2.3"), "{refused}");
}

#[tokio::test]
async fn listing_of_spin_2_is_bounded_and_says_so() {
    let (earlier, later) = (
        Window::of("spin-v2", false).await,
        Window::of("spin-v3", false).await,
    );
    for window in [&earlier, &later] {
        assert_eq!(window.get("/fill-long?4500").await, "filled");
    }
    let refused = earlier.get("/keys").await;
    assert!(refused.contains("list-too-large"), "{refused}");
    assert!(earlier.failures.counts().contains_key("list-too-large"));
    assert!(later.get("/keys").await.starts_with("4500 "));
}

/// Lets nothing out, and counts how often it was asked.
#[derive(Default)]
struct Closed(AtomicUsize);

impl EmitGuard for Closed {
    fn before_emit<'a>(&'a self, window: &'a str) -> Option<BoxFuture<'a, Result<(), String>>> {
        assert_eq!(window, "w");
        self.0.fetch_add(1, SeqCst);
        Some(Box::pin(async {
            tokio::task::yield_now().await;
            Err("the host's disk is full".to_owned())
        }))
    }
}

#[tokio::test]
async fn transaction_with_events_waits_for_the_guard_and_one_without_does_not() {
    let guard = Arc::new(Closed::default());
    let window = Window::guarded("emitter", false, Some(guard.clone())).await;
    let emit = r#"{"set": {"k": "x"}, "events": [{"kind": "a.v1"}]}"#;
    let told = window.post("/do", emit).await;
    assert!(
        told.contains("\"unavailable\"") && !told.contains("disk"),
        "{told}"
    );
    assert_eq!(guard.0.load(SeqCst), 1);
    assert_eq!(window.failures.counts()["events-unavailable"], 1);
    assert!(window.get("/key/k").await.contains("not-found"));

    // What is refused anyway needs no guard, nor does what emits nothing.
    let bad = r#"{"events": [{"kind": ""}]}"#;
    assert!(window.post("/do", bad).await.contains("event-refused"));
    let told = window.post("/do", r#"{"set": {"k": "x"}}"#).await;
    assert!(told.contains("\"repeated\":false"), "{told}");
    assert_eq!(window.get("/key/k").await, "x");
    assert_eq!(guard.0.load(SeqCst), 1);
}
