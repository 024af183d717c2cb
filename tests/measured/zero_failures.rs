//! No citizen in the queue sees a swap: neither a failure nor two releases in one answer. The same
//! in full, with the times, is `cargo bench --bench swap`.

use hms_harness::host::open_route;
use hms_harness::load::{Ledger, Load};
use hms_harness::marked::Marked;
use hms_harness::{Host, eventually};
use http::Method;
use std::sync::Arc;

/// Requests a second: beside it a host without optimisation must compile, on two cores.
const RATE: u32 = 40;

/// Requests that must have been there.
const REQUESTS: usize = 200;

/// Releases that are uploaded, and the least of swaps between those in all. To go back needs no
/// compiling, so it makes many swaps of few releases.
const RELEASES: u32 = 8;
const SWAPS: u32 = 24;

async fn upload(host: &Host, marked: &Marked, ledger: &Ledger, number: u32) {
    ledger.begins(number);
    assert_eq!(
        host.deploy("marked", &marked.release(number)).await,
        u64::from(number)
    );
    ledger.done();
}

async fn go_back(host: &Host, ledger: &Ledger, number: u32) {
    ledger.begins(number);
    let path = format!("/windows/marked/rollback?to={number}");
    let answer = host.admin(Method::POST, &path, "").await;
    assert!(answer.status.is_success(), "{}", answer.text());
    ledger.done();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_swaps_fail_no_request_and_mix_no_releases() {
    let _alone = super::alone().await;
    let marked = Marked::build().await;
    let host = Host::with_open_windows(&[("marked", &marked.release(1))]).await;
    let ledger = Arc::new(Ledger::default());
    ledger.begins(1);
    ledger.done();
    let load = Load::start(&format!("{}/marked", host.gateway()), RATE, ledger.clone());
    for number in 2..=RELEASES {
        upload(&host, &marked, &ledger, number).await;
    }
    for swap in RELEASES.. {
        // A quick host is done with the swaps before there were requests enough.
        if swap > SWAPS && load.ended() >= REQUESTS {
            break;
        }
        go_back(&host, &ledger, 1 + swap % RELEASES).await;
        // So that the swaps lie over all of the requests, of which the longest take three seconds.
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    }
    let result = load.stop().await;
    assert!(result.requests() >= REQUESTS, "only {}", result.requests());
    assert_eq!(result.failed_requests(), 0, "{result}");
}

/// Route edits in small; `cargo bench --bench swap -- --reloads` makes 1,000.
const EDITS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn route_edits_fail_no_request() {
    let _alone = super::alone().await;
    let marked = Marked::build().await;
    let host = Host::with_open_windows(&[("marked", &marked.release(1))]).await;
    let ledger = Arc::new(Ledger::default());
    ledger.begins(1);
    ledger.done();
    let load = Load::start(&format!("{}/marked", host.gateway()), RATE, ledger);
    for edit in 0..EDITS {
        let mark = format!("x-edit: \"{edit}\"");
        let good = format!(
            "{}plugins:\n  - headers: {{response: {{set: {{{mark}}}}}}}\n",
            open_route("marked")
        );
        // Each good text comes after a bad one, which must harm nobody.
        host.write_route("marked.yaml", &good.replace("upstream", "upstraem"));
        host.write_route("marked.yaml", &good);
        eventually("the edit is live", || async {
            let answer = host.get("/marked/sleep?ms=0").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            (answer.header("x-edit") == edit.to_string()).then_some(())
        })
        .await;
    }
    let result = load.stop().await;
    assert!(result.requests() >= 40, "only {}", result.requests());
    assert_eq!(result.failed_requests(), 0, "{result}");
}
