//! Limits, keys and the log.

use crate::browser::Browser;
use hms_harness::{Host, guest};
use http::Method;

#[tokio::test]
async fn limit_is_saved_in_effect_and_there_after_a_restart() {
    let mut host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w/limits").await;
    browser.write("#limit-queue", "7").await;
    browser.click("main button.main").await;
    browser.see(".result.good", "saved").await;
    browser.see("#hint-queue", "now 7").await;
    assert_eq!(host.window("w").await.limits["queue"], 7);
    host.terminate().await;
    host.boot().await;
    assert_eq!(host.window("w").await.limits["queue"], 7);
}

#[tokio::test]
async fn key_is_shown_once_and_revoked() {
    let host = Host::with_open_windows(&[]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/keys").await;
    browser.write("#key-user", "robot").await;
    browser.write("#key-scopes", "payments.read").await;
    browser.click("form.panel button.main").await;
    browser.see(".result.good", "Copy it now").await;
    browser.see("#live td", "robot").await;
    browser.click("#live td button").await;
    browser.click("#live td button").await;
    browser.see("#keys-result", "revoked").await;
    browser.see("#live", "no keys").await;
}

#[tokio::test]
async fn markup_in_a_log_is_text_and_the_tail_pauses() {
    let host = Host::with_open_windows(&[("w", &guest("prober").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/w/log").await;
    let markup =
        "%3Cscript%3Ewindow.stolen=1%3C/script%3E%3Cimg%20src=x%20onerror=window.stolen=1%3E";
    host.get(&format!("/w/say?text={markup}")).await;
    browser
        .see("[data-log]", "<script>window.stolen=1</script><img")
        .await;
    assert_eq!(
        browser.run("return window.stolen ?? null").await,
        serde_json::Value::Null
    );
    assert_eq!(
        browser
            .run("return document.querySelectorAll('[data-log] script, [data-log] img').length")
            .await,
        0
    );
    browser.click("[data-log-pause]").await;
    host.get("/w/say?text=during-the-pause").await;
    browser.see("[data-log-count]", "1 new lines").await;
    browser.write("[data-log-filter]", "during").await;
    browser.click("[data-log-pause]").await;
    browser
        .see("[data-log] p:not([hidden])", "during-the-pause")
        .await;
    let shown = "document.querySelectorAll('[data-log] p:not([hidden])').length === 1";
    browser.until("only that line is shown", shown).await;
}

#[tokio::test]
async fn value_of_a_store_is_masked_until_it_is_asked_for() {
    let host = Host::with_open_windows(&[("w", &guest("prober").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let put = host
        .call(Method::PUT, "/w/kv/notes/first", &[], "<b>secret</b>")
        .await;
    assert!(put.status.is_success(), "{}", put.text());
    let other = host.call(Method::PUT, "/w/kv/lists/a", &[], "other").await;
    assert!(other.status.is_success(), "{}", other.text());
    // Of several buckets the first is shown, and another by its link.
    browser.go(&host, "/ui/windows/w/store").await;
    browser.see("tbody th", "a").await;
    browser.click("[aria-label=Buckets] li:last-child a").await;
    browser.see("caption", "Keys of notes").await;
    browser.see("tbody th", "first").await;
    let page = "return document.documentElement.outerHTML.includes('secret')";
    assert_eq!(browser.run(page).await, false);
    browser.click("[data-store]").await;
    browser.see("td .data", "<b>secret</b>").await;
    browser.click("[data-store]").await;
    browser.see("[data-store]", "Show").await;
    assert_eq!(browser.run(page).await, false);
}
