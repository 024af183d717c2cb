//! The plugin `cache` before windows: an answer belongs to the release that gave it.

use super::said;
use futures_util::future::join_all;
use hms_harness::load::Ledger;
use hms_harness::marked::{self, Marked, TAG_BYTES};
use hms_harness::{Answer, Host, Options, eventually, guest};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

const ROUTE: &str =
    "uri: /w/**\nupstream: http://hms-svc-w\nstrip-prefix: /w\nplugins:\n  - cache\n";

const FIELDS: &str = "fields=hms-cache-control:public,max-age=600";

/// A host with the route `/w/**`, and the first release of window `w`.
async fn host(release: &[u8]) -> Host {
    let host = Host::start_with(Options {
        routes: vec![("w.yaml", ROUTE.into())],
        ..Options::default()
    })
    .await;
    host.deploy("w", release).await;
    host
}

/// The number of the release in an answer of `marked`.
fn release(answer: &Answer) -> Option<u32> {
    marked::number(answer.text().get(..TAG_BYTES)?)
}

async fn now(host: &Host) -> (String, Option<u32>) {
    let answer = host.get(&format!("/w/now?{FIELDS}")).await;
    (said(&answer).to_owned(), release(&answer))
}

const STORED: &str = "fwd=miss; stored";

#[tokio::test]
async fn switches_under_load_are_never_followed_by_an_older_answer() {
    const RELEASES: u32 = 8;
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    let ledger = Arc::new(Ledger::default());
    ledger.begins(1);
    ledger.done();
    let (over, hits, asked) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    // Some are answered at once, and some for so long that a switch comes amid them.
    let paths = ["/w/now?", "/w/sleep?ms=50&", "/w/stream?pieces=3&ms=20&"];
    let load = join_all((0..12).map(|client| {
        let (host, ledger, over, hits, asked) = (&host, &ledger, &over, &hits, &asked);
        async move {
            let path = format!("{}n={}&{FIELDS}", paths[client % 3], client % 6);
            while !over.load(SeqCst) {
                let mark = ledger.mark();
                let answer = host.get(&path).await;
                asked.fetch_add(1, SeqCst);
                if said(&answer) == "hit" {
                    hits.fetch_add(1, SeqCst);
                }
                let number = release(&answer).unwrap_or_else(|| panic!("{answer:?}"));
                assert!(
                    ledger.allows(mark, number),
                    "{} of release {number} for {:?}: {path}",
                    said(&answer),
                    ledger.allowed(mark)
                );
            }
        }
    }));
    let swaps = async {
        let settle = async || {
            let before = hits.load(SeqCst);
            eventually("the release is answered from the cache", || async {
                (hits.load(SeqCst) > before + 20).then_some(())
            })
            .await;
        };
        for number in 2..=RELEASES {
            settle().await;
            ledger.begins(number);
            host.deploy("w", &marked.release(number)).await;
            ledger.done();
        }
        settle().await;
        ledger.begins(RELEASES - 1);
        assert!(host.cli("rollback", &["w"]).await.status.success());
        ledger.done();
        settle().await;
        over.store(true, SeqCst);
    };
    tokio::join!(load, swaps);
    assert!(asked.load(SeqCst) > 200, "{asked:?}");
}

#[tokio::test]
async fn answer_of_an_old_release_that_ends_after_the_switch_is_not_stored() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    let path = format!("/w/stream?pieces=40&ms=100&{FIELDS}");
    let slow = host.get(&path);
    let switch = async {
        eventually("the slow answer is at work", || async {
            (host.window("w").await.leases == 1).then_some(())
        })
        .await;
        host.deploy("w", &marked.release(2)).await;
    };
    let (slow, ()) = tokio::join!(slow, switch);
    assert_eq!(
        (said(&slow), release(&slow), &slow.cut),
        (STORED, Some(1), &None)
    );
    assert_eq!(host.metric("hms_gateway_cache_stored_total").await, Some(0));
    let next = host.get(&path).await;
    assert_eq!((said(&next), release(&next)), (STORED, Some(2)));
    assert_eq!(release(&host.get(&path).await), Some(2));
}

#[tokio::test]
async fn canary_passes_all_requests_through_and_leaves_what_was_stored() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    now(&host).await;
    assert_eq!(now(&host).await, ("hit".into(), Some(1)));
    let candidate = marked.release(2);
    let begun = host.admin(
        Method::PUT,
        "/windows/w?canary=50%25&yes=true",
        candidate.clone(),
    );
    assert_eq!(begun.await.status, 200);
    for _ in 0..3 {
        assert_eq!(now(&host).await.0, "fwd=bypass");
    }
    assert!(host.cli("abort", &["w"]).await.status.success());
    assert_eq!(now(&host).await, ("hit".into(), Some(1)));
    let again = host.admin(Method::PUT, "/windows/w?canary=50%25&yes=true", candidate);
    assert_eq!(again.await.status, 200);
    assert!(host.cli("promote", &["w"]).await.status.success());
    assert_eq!(now(&host).await, (STORED.into(), Some(2)));
    assert_eq!(now(&host).await, ("hit".into(), Some(2)));
}

#[tokio::test]
async fn closed_window_is_closed_and_a_new_one_of_its_name_begins_anew() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    now(&host).await;
    assert_eq!(now(&host).await, ("hit".into(), Some(1)));
    assert!(host.cli("stop", &["w"]).await.status.success());
    assert_eq!(
        host.get(&format!("/w/now?{FIELDS}")).await.problem(),
        "window-stopped"
    );
    assert!(host.cli("start", &["w"]).await.status.success());
    assert_eq!(now(&host).await, (STORED.into(), Some(1)));
    let removed = host.admin(Method::DELETE, "/windows/w", "").await;
    assert!(removed.status.is_success(), "{}", removed.text());
    assert_eq!(
        host.get(&format!("/w/now?{FIELDS}")).await.problem(),
        "window-not-deployed"
    );
    // The number of its first release is that of the removed one.
    assert_eq!(host.deploy("w", &marked.release(7)).await, 1);
    assert_eq!(now(&host).await, (STORED.into(), Some(7)));
}

#[tokio::test]
async fn edited_grants_start_with_an_empty_cache_and_internal_windows_are_not_answered_for() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    now(&host).await;
    assert_eq!(now(&host).await.0, "hit");
    host.write_grants("w", "config: {greeting: hello}\n");
    eventually("the grants are in force", || async {
        (now(&host).await.0 == STORED).then_some(())
    })
    .await;
    assert_eq!(now(&host).await.0, "hit");
    host.write_grants("w", "internal: true\n");
    eventually("the window is internal", || async {
        let answer = host.get(&format!("/w/now?{FIELDS}")).await;
        (answer.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn answer_of_a_window_that_traps_amid_it_is_not_stored() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    for _ in 0..2 {
        let broken = host.get(&format!("/w/broken?{FIELDS}")).await;
        assert!(broken.cut.is_some(), "{broken:?}");
        assert_eq!(said(&broken), STORED);
    }
    assert_eq!(host.metric("hms_gateway_cache_stored_total").await, Some(0));
}

#[tokio::test]
async fn window_whose_breaker_has_tripped_is_still_answered_for_from_memory() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    now(&host).await;
    host.limit("w", &["--failures", "1"]).await;
    eventually("the breaker trips", || async {
        host.get("/w/broken").await;
        let other = host.get("/w/asked").await;
        (other.status == 503).then_some(())
    })
    .await;
    assert_eq!(now(&host).await, ("hit".into(), Some(1)));
}

#[tokio::test]
async fn hit_is_no_request_of_the_window() {
    let marked = Marked::build().await;
    let host = host(&marked.release(1)).await;
    let path = format!("/w/asked?{FIELDS}");
    let first = host.get(&path).await.text();
    let requests = async || {
        let metrics = host.admin(Method::GET, "/metrics", "").await.text();
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("hms_window_requests_total{"));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>()
    };
    // It counts with the end of the answer, which the client may see first.
    let before = eventually("the request is counted", || async {
        Some(requests().await).filter(|requests| *requests > 0.0)
    })
    .await;
    for _ in 0..5 {
        assert_eq!(host.get(&path).await.text(), first);
    }
    assert_eq!(requests().await, before);
}

#[tokio::test]
async fn files_of_a_site_that_browsers_ask_about_each_time_are_answered_from_memory() {
    const FILE: &str = "/w/dashboard.css";
    let host = host(&guest("site").await).await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        host.call(Method::GET, path, headers, "").await
    };
    let file = get(FILE, &[]).await;
    assert_eq!(
        (file.status.as_u16(), file.header("cache-control")),
        (200, "no-cache")
    );
    assert_eq!(
        (said(&file), file.header("hms-cache-control")),
        (STORED, "")
    );
    let again = get(FILE, &[]).await;
    assert_eq!((said(&again), &again.body), ("hit", &file.body));
    let tag = [("if-none-match", file.header("etag"))];
    let known = get(FILE, &tag).await;
    assert_eq!((known.status.as_u16(), said(&known)), (304, "hit"));
    // The coding is chosen by the site, so each is an answer of its own.
    let brotli = [("accept-encoding", "br")];
    assert_eq!(said(&get(FILE, &brotli).await), STORED);
    let coded = get(FILE, &brotli).await;
    assert_eq!(
        (said(&coded), coded.header("content-encoding")),
        ("hit", "br")
    );
    // What is not there has endlessly many paths, so its page is not stored.
    for _ in 0..2 {
        let missing = get("/w/nowhere", &[]).await;
        assert_eq!((missing.status.as_u16(), said(&missing)), (404, "fwd=miss"));
    }
    // A part is the site's to make.
    let part = get(FILE, &[("range", "bytes=0-9")]).await;
    assert_eq!((part.status.as_u16(), said(&part)), (206, "fwd=bypass"));
}
