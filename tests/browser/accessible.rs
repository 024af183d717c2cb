//! For everybody: axe finds nothing, and pages fit a phone.

use crate::browser::{Browser, token};
use hms_harness::guests::variant;
use hms_harness::{Host, guest, root};
use http::Method;
use serde_json::{Value, json};
use std::process::Command;

/// axe-core, which only the tests use (MPL-2.0): from the registry, unless it was fetched before.
const AXE: &str = "axe-core@4.14.1";

/// Every page.
pub const PAGES: [&str; 18] = [
    "/ui/",
    "/ui/deploy",
    "/ui/windows/w",
    "/ui/windows/w/log",
    "/ui/windows/w/limits",
    "/ui/windows/w/grants",
    "/ui/windows/w/events",
    "/ui/windows/w/store",
    "/ui/windows/w/store?bucket=notes",
    "/ui/windows/inbox/grants",
    "/ui/windows/inbox/events",
    "/ui/requests",
    "/ui/requests/the-one",
    "/ui/routes",
    "/ui/routes/w",
    "/ui/new-route",
    "/ui/keys",
    "/ui/host",
];

/// The script of axe. None where it can not be had.
fn axe() -> Option<String> {
    let folder = root().join("target/axe");
    let script = folder.join("package/axe.min.js");
    if !script.is_file() {
        std::fs::create_dir_all(&folder).unwrap();
        let fetched = Command::new("npm")
            .args(["pack", "--silent", AXE])
            .current_dir(&folder)
            .output();
        let is_fetched = fetched.is_ok_and(|fetched| fetched.status.success());
        let unpacked = Command::new("tar")
            .args(["xzf", "axe-core-4.14.1.tgz"])
            .current_dir(&folder)
            .status();
        if !is_fetched || !unpacked.is_ok_and(|unpacked| unpacked.success()) {
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_ci, "npm pack {AXE} fails");
            println!("SKIPPED: npm pack {AXE} fails");
            return None;
        }
    }
    Some(std::fs::read_to_string(script).unwrap())
}

/// A host with something to show on each page.
async fn host() -> Host {
    let prober = guest("prober").await;
    let windows = [
        ("w", prober.as_slice()),
        ("emitter", &guest("emitter").await),
    ];
    let host = Host::with_open_windows(&windows).await;
    host.deploy("w", &variant(&prober, "a")).await;
    host.deploy("another-window-with-a-long-name", &prober)
        .await;
    crate::events::with_parked_events(&host).await;
    let key = "/w/kv/notes/a-key-with-a-name-that-is-longer-than-a-phone-is-wide";
    host.call(Method::PUT, key, &[], "text").await;
    let id = [("x-request-id", "the-one")];
    host.call(Method::GET, "/w/sleep?ms=1", &id, "").await;
    host.write_route("broken.yaml", "uri: /w/**\nupstraem: http://hms-svc-w\n");
    let canary = variant(&prober, "b");
    let answer = host
        .admin(Method::PUT, "/windows/w?canary=10%25", canary)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    host
}

#[tokio::test]
async fn axe_finds_nothing_in_light_and_dark() {
    let host = host().await;
    let (Some(axe), Some(browser)) = (axe(), Browser::at(&host).await) else {
        return;
    };
    let mut found = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for page in PAGES.iter().chain(&["/ui/login"]) {
            browser.go(&host, page).await;
            browser.see("h1", "").await;
            if *page == "/ui/windows/w" {
                browser.see("[data-plot=rate] canvas", "").await;
            }
            browser.run(&axe).await;
            let run =
                "const done = arguments[0]; axe.run().then((result) => done(result.violations))";
            let violations = browser.run_async(run, json!([])).await;
            for violation in violations.as_array().unwrap() {
                let nodes = violation["nodes"].as_array().unwrap().iter();
                let nodes: Vec<&Value> = nodes.map(|node| &node["html"]).collect();
                found.push(format!("{scheme} {page}: {} {nodes:?}", violation["id"]));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn pages_fit_a_phone_and_a_zoom_of_200_percent() {
    let host = host().await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let mut wide = Vec::new();
    for width in [360, 600] {
        browser.resize(width, 740).await;
        for page in PAGES {
            browser.go(&host, page).await;
            browser.see("h1", "").await;
            tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
            let over = browser
                .run("return document.documentElement.scrollWidth - innerWidth")
                .await;
            if over.as_i64().unwrap() > 0 {
                wide.push(format!("{page} at {width}: {over} too wide"));
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn phone_with_a_keyboard_alone_signs_in_and_runs_a_canary() {
    let host = host().await;
    let Some(browser) = Browser::open().await else {
        return;
    };
    browser.resize(360, 740).await;
    browser.go(&host, "/ui/").await;
    // The field has the focus already.
    browser.press(&format!("{}\u{E007}", token(&host))).await;
    browser.see("h1", "Windows").await;
    // Past the navigation, to the window.
    browser.press("\u{E004}").await;
    let skip = "return document.activeElement.className";
    assert_eq!(browser.run(skip).await, "skip");
    browser.press("\u{E007}").await;
    browser.tab_to("#window-w a").await;
    browser.press("\u{E007}").await;
    browser.see("#canary-title", "10% to release 3").await;
    // The slider goes up by one with each press, and the number with it.
    browser.tab_to("#share-range").await;
    browser.press("\u{E014}\u{E014}\u{E014}").await;
    let number = "return document.querySelector('#share').value";
    assert_eq!(browser.run(number).await, "13");
    browser.tab_to("#canary-form button").await;
    browser.press(" ").await;
    browser.see("#canary-title", "13% to release 3").await;
    browser.tab_to("#abort-form button").await;
    browser.press("\u{E007}").await;
    browser.see("#canary-result", "ended").await;
    let canary = host.window("w").await.canary;
    assert_eq!(canary, None);
}
