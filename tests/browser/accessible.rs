//! For everybody: axe finds nothing, and pages fit a phone.

use crate::browser::Browser;
use hms_harness::{Host, guest, root};
use serde_json::{Value, json};
use std::process::Command;

/// axe-core, which only the tests use (MPL-2.0): from the registry, unless it was fetched before.
const AXE: &str = "axe-core@4.14.1";

/// Every page.
pub const PAGES: [&str; 13] = [
    "/ui/",
    "/ui/deploy",
    "/ui/windows/w",
    "/ui/windows/w/log",
    "/ui/windows/w/limits",
    "/ui/windows/w/grants",
    "/ui/windows/w/events",
    "/ui/windows/w/store",
    "/ui/requests",
    "/ui/routes",
    "/ui/routes/w",
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

async fn host() -> Host {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    host.deploy("w", &hms_harness::guests::variant(&hello, "a"))
        .await;
    host.deploy("another-window-with-a-long-name", &hello).await;
    host.write_route("broken.yaml", "uri: /w/**\nupstraem: http://hms-svc-w\n");
    let canary = hms_harness::guests::variant(&hello, "b");
    let answer = host
        .admin(http::Method::PUT, "/windows/w?canary=10%25", canary)
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
