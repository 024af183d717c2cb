//! What moves by itself, and what ends with the host.

use crate::browser::Browser;
use hms_api::RequestTrace;
use hms_harness::http::send;
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
    let rows = "document.querySelectorAll('tbody tr').length === 1";
    browser.until("the table is filtered", rows).await;
    browser.see("#window-other", "open").await;
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
async fn hidden_tab_follows_nothing_and_catches_up_when_it_is_seen_again() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("w", &hello)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.see("#window-w", "open").await;
    browser
        .until(
            "it follows",
            "document.querySelector('#live')._htmx?.sse?.reader",
        )
        .await;
    browser.minimize().await;
    let released = "document.hidden && !document.querySelector('#live')._htmx.sse.reader";
    browser.until("its connection is given up", released).await;
    host.deploy("other", &hello).await;
    // Pages that are seen have it within a second. None can be looked at meanwhile: the window is
    // minimized with all tabs.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rows = "return document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.run(rows).await, 1);
    browser.restore().await;
    browser.see("#window-other", "open").await;
    // One that is hidden from the beginning, as a tab in the background, begins to follow when it
    // is seen first.
    browser.minimize().await;
    browser.go(&host, "/ui/").await;
    // It would have begun when it was loaded, which ends with `go`.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let follows = "return document.hidden && !document.querySelector('#live')._htmx?.sse";
    assert_eq!(browser.run(follows).await, true);
    browser.restore().await;
    browser
        .until(
            "it follows",
            "document.querySelector('#live')._htmx?.sse?.reader",
        )
        .await;
}

#[tokio::test]
async fn page_beyond_those_that_may_be_live_says_so_and_is_live_once_there_is_room() {
    let host = Host::with_open_windows(&[]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let cookie = browser.cookies().await.remove(0);
    let cookie = format!(
        "{}={}",
        cookie["name"].as_str().unwrap(),
        cookie["value"].as_str().unwrap()
    );
    let url = format!("{}/ui/live/host", host.admin_url());
    let others: Vec<_> = (0..16)
        .map(|_| {
            let (url, cookie) = (url.clone(), cookie.clone());
            tokio::spawn(async move {
                loop {
                    send(Method::GET, &url, &[("cookie", &cookie)], Vec::new()).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
        })
        .collect();
    browser.go(&host, "/ui/keys").await;
    browser
        .see("#connection", "the limit of live pages is reached")
        .await;
    for other in others {
        other.abort();
    }
    let hidden = "document.querySelector('#connection').hidden";
    browser.until("the page is live", hidden).await;
}

#[tokio::test]
async fn list_of_requests_follows_is_paused_and_is_searched_by_trace() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let ask = |id: &'static str| {
        let host = &host;
        async move {
            let id = [("x-request-id", id)];
            assert_eq!(host.call(Method::GET, "/w/", &id, "").await.status, 200);
        }
    };
    browser.go(&host, "/ui/requests").await;
    ask("the-first").await;
    browser.see("tbody td", "the-first").await;
    browser.click("[data-pause]").await;
    browser.see("[data-pause-state]", "Paused").await;
    ask("the-second").await;
    browser.see("[data-pause-state]", "there is news").await;
    let shown = "return document.querySelector('tbody').innerText.includes('the-second')";
    assert_eq!(browser.run(shown).await, false);
    browser.click("[data-pause]").await;
    browser.see("tbody td", "the-second").await;
    // By the trace, as an exemplar or another tool says it.
    let shown = host.admin(Method::GET, "/requests/the-first", "").await;
    let shown: RequestTrace = shown.read();
    browser.write("#id", &shown.trace_id).await;
    browser.click(".filter button").await;
    browser.see("tbody td", "the-first").await;
    let rows = "document.querySelectorAll('tbody tr').length === 1";
    browser.until("only that request is shown", rows).await;
    // What is shown by then stays what was looked for.
    ask("the-third").await;
    browser.click("tbody th a").await;
    browser.see("main", &shown.trace_id).await;
}

#[tokio::test]
async fn every_plot_has_its_figures_as_a_table() {
    let host = Host::with_open_windows(&[("w", &guest("hello-wasip3").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    for page in ["/ui/windows/w", "/ui/host"] {
        browser.go(&host, page).await;
        for plot in ["rate", "latency"] {
            browser.see(&format!("[data-plot={plot}] canvas"), "").await;
        }
        browser.click("[data-plots] summary").await;
        let rate = "[...document.querySelectorAll('[data-plot-table] tbody td:first-of-type')]
            .some((cell) => Number(cell.innerText) > 0)";
        let asking = async {
            loop {
                host.get("/w/").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = browser.until("the table has the rate", rate) => {}
        }
    }
}

#[tokio::test]
async fn host_page_says_what_runs_and_what_it_uses() {
    let host = Host::with_open_windows(&[]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    browser.go(&host, "/ui/host").await;
    browser
        .see("main", &format!("HMS-SVC {}", env!("CARGO_PKG_VERSION")))
        .await;
    for figure in ["CPU", "Memory", "Disk", "Open files"] {
        browser.see(".figures dt", figure).await;
    }
    let figures = "[...document.querySelectorAll('.figures > div')].slice(4)
        .every((one) => one.querySelector('dd').innerText !== '–')";
    browser.until("all are measured", figures).await;
    let process = format!("#process-{}", host.pid());
    browser.see(&process, "hms").await;
    browser.see("main th", "Build").await;
    browser.see("main th", "Data folder").await;
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
    let rows = "document.querySelectorAll('tbody tr').length === 1";
    browser.until("only that request is shown", rows).await;
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
    browser
        .until("only the failed request is shown", rows)
        .await;
}
