//! Releases: deployed, refused, consented to, tried on some, gone back from.

use crate::browser::Browser;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_harness::guests::path;
use hms_harness::marked::{Marked, tag};
use hms_harness::{Host, guest};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const STEPS: [&str; 7] = [
    "upload", "check", "compile", "try", "record", "swap", "drain",
];

async fn deploy(browser: &Browser, file: &std::path::Path) {
    browser.choose("#deploy-file", file).await;
    browser.click(".upload button.main").await;
}

/// As if somebody dropped the file there. A driver can not drag one from outside of the browser.
async fn drop_on_the_page(browser: &Browser, file: &std::path::Path) {
    let bytes = STANDARD.encode(std::fs::read(file).unwrap());
    let script = "const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], 'window.wasm', {type: 'application/wasm'}));
        const place = document.querySelector('[data-drop]');
        for (const type of ['dragover', 'drop']) {
            place.dispatchEvent(new DragEvent(type,
                {bubbles: true, cancelable: true, dataTransfer: data}));
        }";
    browser.run_with(script, json!([bytes])).await;
}

#[tokio::test]
async fn dropped_component_is_deployed_step_by_step() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w").await;
    drop_on_the_page(&browser, &path("hello-wstd").await).await;
    browser.see("[data-result]", "Release 2 is live.").await;
    for step in STEPS {
        browser
            .see(&format!("[data-step={step}][data-done]"), "✓")
            .await;
    }
    browser.see("#release-2", "live").await;
    browser.see(".difference", "Compared with release 1").await;
    // A new window, on its own page.
    browser.go(&host, "/ui/deploy").await;
    browser.write("#deploy-name", "new").await;
    deploy(&browser, &path("hello-wstd").await).await;
    browser.see("[data-result]", "Release 1 is live.").await;
    browser.click("[data-result] a").await;
    browser.see("h1", "new").await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn broken_component_is_refused_with_its_reason_and_the_old_release_serves() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.wasm");
    std::fs::write(&broken, "no component").unwrap();
    browser.go(&host, "/ui/windows/w").await;
    deploy(&browser, &broken).await;
    browser
        .see(".result.bad", "not a WebAssembly component")
        .await;
    assert_eq!(host.get("/w/now").await.status, 200);
    assert_eq!(host.window("w").await.live.unwrap().number, 1);
}

#[tokio::test]
async fn release_that_may_do_more_asks_for_consent_and_gets_it() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w").await;
    deploy(&browser, &path("payments").await).await;
    browser
        .see(".upload .result", "could do more than before")
        .await;
    browser
        .see(".upload .difference", "Compared with release 1")
        .await;
    browser.see(".upload .difference li", "May now: ").await;
    assert_eq!(host.window("w").await.live.unwrap().number, 1);
    browser.click(".upload .result button").await;
    browser.see(".upload .result", "Release 2 is live.").await;
}

#[tokio::test]
async fn canary_is_run_by_the_keyboard_alone() {
    let marked = Marked::build().await;
    let host = Host::with_open_windows(&[("w", &marked.release(1))]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let canary = |release: u32, share: &'static str| {
        let (host, wasm) = (&host, marked.release(release));
        async move {
            let url = format!("/windows/w?canary={share}");
            assert_eq!(host.admin(Method::PUT, &url, wasm).await.status, 200);
        }
    };
    canary(2, "10%25").await;
    browser.go(&host, "/ui/windows/w").await;
    browser.see("#canary-title", "10% to release 2").await;
    browser
        .run("document.querySelector('#share').focus()")
        .await;
    browser.press("\u{E009}a\u{E009}\u{E000}35\u{E007}").await;
    browser.see("#canary-title", "35% to release 2").await;
    // From there to the button, by Tab.
    browser.tab_to("#promote-form button").await;
    browser.press("\u{E007}").await;
    browser.see("#release-2", "live").await;
    browser.see("#canary-result", "live now").await;
    canary(3, "5%25").await;
    browser.see("#canary-title", "5% to release 3").await;
    browser.tab_to("#abort-form button").await;
    browser.press(" ").await;
    browser.see("#canary-result", "ended").await;
    assert_eq!(host.window("w").await.live.unwrap().number, 2);
}

#[tokio::test]
async fn rollback_takes_two_clicks_and_fails_no_request() {
    let marked = Marked::build().await;
    let host = Arc::new(Host::with_open_windows(&[("w", &marked.release(1))]).await);
    host.deploy("w", &marked.release(2)).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w").await;
    let over = Arc::new(AtomicBool::new(false));
    let load = {
        let (host, over) = (host.clone(), over.clone());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while !over.load(Relaxed) {
                let answer = host.get("/w/now").await;
                assert_eq!(answer.status, 200);
                seen.push(answer.text());
            }
            seen
        })
    };
    browser.click("#rollback-1 button").await;
    browser.see("#rollback-1 button", "Yes, make 1 live").await;
    browser.click("#rollback-1 button").await;
    browser.see("#release-1 .state", "live").await;
    over.store(true, Relaxed);
    let seen = load.await.unwrap();
    assert!(seen.last().unwrap().contains(&tag(1)), "{:?}", seen.last());
}
