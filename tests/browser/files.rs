//! Route manifests and grants.

use crate::browser::Browser;
use hms_harness::host::open_route;
use hms_harness::{Host, guest};
use serde_json::json;

#[tokio::test]
async fn fault_of_a_manifest_is_shown_with_its_place_and_goes_when_it_is_fixed() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/routes").await;
    browser.see("#route-w", "live").await;
    host.write_route("w.yaml", "uri: /w/**\nupstraem: http://hms-svc-w\n");
    browser.see("#route-w .fault", "w.yaml:2:1").await;
    browser.see("#route-w", "its last good text serves").await;
    assert_eq!(host.get("/w/").await.status, 200);
    browser.click("#route-w a").await;
    browser.see("h1", "Route w").await;
    // The editor refuses what is wrong before it writes anything.
    browser.click("main button.main").await;
    browser.see(".faults button", "line 2, column 1").await;
    let text = open_route("w");
    browser
        .run_with(
            "document.querySelector('#manifest').value = arguments[0]",
            json!([text]),
        )
        .await;
    browser.click("main button.main").await;
    browser.see(".result.good", "saved and live").await;
    browser.see("#live .state", "live").await;
    browser.go(&host, "/ui/routes").await;
    browser.see("#route-w", "live").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.fault').length")
            .await,
        0
    );
}

#[tokio::test]
async fn manifest_is_checked_while_one_types_and_written_only_when_it_is_saved() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/routes/w").await;
    browser.see("[data-checked]", "Nothing is wrong").await;
    let bad = "uri: /w/**\nupstream: http://hms-svc-w\nplugins: [auht]";
    browser.write("#manifest", bad).await;
    browser.see("[data-checked]", "1 fault").await;
    browser
        .see(
            ".faults button",
            "line 3, column 11: plugins[0]: unknown plugin 'auht'",
        )
        .await;
    browser.see("[data-lines] .faulty", "3").await;
    // It leads to its place in the text.
    browser.click(".faults button").await;
    let place = "const text = document.querySelector('#manifest');
        return document.activeElement === text && text.value.slice(text.selectionStart)";
    assert_eq!(browser.run(place).await, "auht]");
    let written = || std::fs::read_to_string(host.routes().join("w.yaml")).unwrap();
    assert_eq!(written(), open_route("w"));
    browser
        .write("#manifest", "uri: /other/**\nupstream: http://hms-svc-w")
        .await;
    browser.see("[data-checked]", "Nothing is wrong").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.faults li').length")
            .await,
        0
    );
    assert_eq!(written(), open_route("w"));
    // What another file claims is a fault too, on a route that has no name yet.
    browser.go(&host, "/ui/new-route").await;
    browser
        .write("#manifest", "uri: /w/**\nupstream: http://hms-svc-w")
        .await;
    browser
        .see(".faults button", "uri '/w/**' is claimed by w.yaml")
        .await;
    assert_eq!(
        browser.console_without(&[409, 422]).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn grants_are_checked_and_saved() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w/grants").await;
    browser.see("#live", "nothing is granted").await;
    let write = "document.querySelector('#manifest').value = arguments[0]";
    browser.run_with(write, json!(["intrenal: true\n"])).await;
    browser.click("main button.main").await;
    browser.see(".faults button", "line 1").await;
    browser.run_with(write, json!(["internal: true\n"])).await;
    browser.click("main button.main").await;
    browser.see(".result.good", "saved").await;
    assert!(host.grants().join("w.yaml").is_file());
}
