//! The pictures of docs/dashboard.md, taken anew with `HMS_PICTURES=1`.

use crate::browser::Browser;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hms_harness::guests::variant;
use hms_harness::{Host, guest, root};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

async fn take(browser: &Browser, name: &str) {
    // The last change is drawn.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let params = json!({"format": "png", "optimizeForSpeed": false});
    let picture = browser.devtools("Page.captureScreenshot", params).await;
    let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
    std::fs::write(root().join(format!("docs/images/{name}.png")), picture).unwrap();
}

#[tokio::test]
async fn pictures_of_the_main_pages_are_taken_where_they_are_asked_for() {
    if std::env::var_os("HMS_PICTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(root().join("docs/images")).unwrap();
    let hello = guest("hello-wasip3").await;
    let windows = ["payments", "docs", "notifications", "passports"];
    let windows = windows.map(|name| (name, hello.as_slice()));
    let host = Arc::new(Host::with_open_windows(&windows).await);
    host.deploy("payments", &variant(&hello, "2")).await;
    let canary = variant(&hello, "3");
    host.admin(Method::PUT, "/windows/payments?canary=10%25", canary)
        .await;
    host.write_route(
        "archive.yaml",
        "uri: /archive/**\nupstraem: http://hms-svc-docs\n",
    );
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.resize(1100, 760).await;
    let load = {
        let host = host.clone();
        tokio::spawn(async move {
            for step in 0_u64.. {
                for name in ["payments", "payments", "docs", "notifications", "passports"] {
                    host.get(&format!("/{name}/")).await;
                }
                if step % 17 == 0 {
                    host.get("/nowhere").await;
                }
                tokio::time::sleep(Duration::from_millis(20 + step % 50)).await;
            }
        })
    };
    browser.go(&host, "/ui/windows/payments").await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    browser.go(&host, "/ui/").await;
    take(&browser, "windows").await;
    browser.prefer("dark").await;
    browser.go(&host, "/ui/windows/payments").await;
    take(&browser, "window").await;
    browser.prefer("light").await;
    browser
        .run("window.scrollTo(0, document.querySelector('[data-plots]').offsetTop - 20)")
        .await;
    take(&browser, "plots").await;
    browser.go(&host, "/ui/routes").await;
    take(&browser, "routes").await;
    browser.resize(1100, 560).await;
    browser.go(&host, "/ui/routes/archive").await;
    browser.see(".faults button", "line 2").await;
    browser
        .run("document.querySelector('#manifest').rows = 6")
        .await;
    take(&browser, "editor").await;
    browser.resize(1100, 760).await;
    browser.go(&host, "/ui/requests").await;
    take(&browser, "requests").await;
    load.abort();
}
