//! Subscriptions, parked events and schedules.

use crate::browser::Browser;
use hms_harness::{Host, eventually, guest};
use http::Method;
use serde_json::json;

const GRANTS: &str = "subscriptions:
  all: {from: [emitter], start: earliest, to: /once}
schedules:
  daily: {cron: \"0 4 * * *\", to: /once}
config: {reply: '{\"status\": 400}'}
";

/// Deploys the window `inbox`, which refuses two events of the window `emitter`.
pub async fn with_parked_events(host: &Host) {
    host.write_grants("inbox", GRANTS);
    host.deploy("inbox", &guest("subscriber").await).await;
    let event = |subject| json!({"kind": "test.done.v1", "subject": subject, "data": "<b>it</b>"});
    let task = json!({"events": [event("one"), event("two")]}).to_string();
    let done = host.call(Method::POST, "/emitter/do", &[], task).await;
    assert_eq!(done.status, 200, "{}", done.text());
    eventually("both are parked", || async {
        let parked = host.admin(Method::GET, "/parked?window=inbox", "").await;
        (parked.json()["parked"].as_array()?.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn parked_event_is_retried_or_dropped_and_a_schedule_is_run_at_once() {
    let host = Host::with_open_windows(&[("emitter", &guest("emitter").await)]).await;
    with_parked_events(&host).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/windows/inbox/events").await;
    browser.see("#subscription-all", "active").await;
    browser.see("#subscription-all", "2").await;
    // Dropping needs a second press, and a retry ends as before.
    browser.click("[id^=drop-all-] button").await;
    browser
        .see("[id^=drop-all-] button", "Yes, drop it for good")
        .await;
    browser.click("[id^=drop-all-] button").await;
    browser.see("#events-result", "is dropped").await;
    let parked = "document.querySelectorAll('[id^=retry-all-]').length === 1";
    browser.until("one is left", parked).await;
    browser.click("[id^=retry-all-] button").await;
    browser.see("#events-result", "is tried again").await;
    browser.click("#pause-all button").await;
    browser.see("#subscription-all", "paused").await;
    browser.click("#resume-all button").await;
    browser.see("#subscription-all", "active").await;
    browser.click("#run-daily button").await;
    browser.see("#events-result", "daily runs").await;
    // What the window refuses of it is parked, and shown without a reload.
    browser.see("main td", "hms.schedule.daily").await;
    // What was emitted is shown as text.
    browser.go(&host, "/ui/windows/emitter/events").await;
    browser.see("#event-1 .data", "<b>it</b>").await;
    let markup = "return document.querySelectorAll('.data b').length";
    assert_eq!(browser.run(markup).await, 0);
}
