//! What moves by itself, and what ends with the host.

use crate::browser::Browser;
use hms_harness::{Host, guest};
use http::Method;
use std::time::{Duration, Instant};

#[tokio::test]
async fn table_moves_without_a_reload() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.run("window.mark = 1").await;
    browser.see("#window-w", "open").await;
    host.deploy("other", &hello).await;
    browser.see("#window-other", "open").await;
    let rate = "[...document.querySelectorAll('.figures dd')][0].innerText !== '0'";
    let asking = async {
        loop {
            host.get("/w/").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = browser.until("the rate is shown", rate) => {}
    }
    assert_eq!(browser.run("return window.mark").await, 1);
    // Sorted and filtered by links and a form, which the live part keeps to.
    browser.write("#filter", "oth").await;
    browser.click(".filter button").await;
    browser.see("#window-other", "open").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('tbody tr').length")
            .await,
        1
    );
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test]
async fn seven_tabs_are_open_at_once_and_the_host_ends_with_them() {
    let mut host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    for _ in 0..6 {
        browser.new_tab().await;
        browser.go(&host, "/ui/windows/w").await;
        browser.see("h1", "w").await;
        browser.see("[data-plot=rate] canvas", "").await;
    }
    // Those that were left are still there when one comes back to them.
    for tab in browser.tabs().await {
        browser.switch(&tab).await;
        browser.refresh().await;
        browser.see(".state", "open").await;
    }
    let begun = Instant::now();
    host.signal("INT");
    assert!(host.ended().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    browser.see("#connection", "cannot be reached").await;
    host.boot().await;
}

#[tokio::test]
async fn slow_request_is_found_by_its_id_and_its_parts_add_up() {
    let host = Host::with_open_windows(&[("w", &guest("prober").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let id = [("x-request-id", "the-slow-one")];
    let slow = host.call(Method::GET, "/w/sleep?ms=1200", &id, "").await;
    assert_eq!(slow.status, 200);
    host.get("/w/status?code=500").await;
    browser.go(&host, "/ui/requests").await;
    browser.write("#id", "the-slow-one").await;
    browser.click(".filter button").await;
    browser.see("tbody th", "GET /w/sleep").await;
    browser.see("tbody td", "slow").await;
    let rows = "return document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.run(rows).await, 1);
    browser.click("tbody th a").await;
    browser.see(".waterfall", "guest").await;
    // No bar goes beyond the whole, and the guest's is nearly as long as it.
    let bars = browser
        .run(
            "return [...document.querySelectorAll('.waterfall rect')].map((bar) => \
             [bar.x.baseVal.value, bar.width.baseVal.value])",
        )
        .await;
    let bars = bars.as_array().unwrap().iter();
    let bars: Vec<(f64, f64)> = bars
        .map(|bar| (bar[0].as_f64().unwrap(), bar[1].as_f64().unwrap()))
        .collect();
    assert!(bars.len() > 2, "{bars:?}");
    assert!(
        bars.iter().all(|(x, width)| x + width <= 1000.1),
        "{bars:?}"
    );
    assert!(
        bars[1..].iter().any(|(_, width)| *width > 800.0),
        "{bars:?}"
    );
    browser.go(&host, "/ui/requests?failed=true").await;
    browser.see("tbody tr", "500").await;
    assert_eq!(browser.run(rows).await, 1);
}
