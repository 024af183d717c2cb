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
