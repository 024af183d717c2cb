//! A service that is dead costs its callers time, and nobody else: neither the neighbours of the
//! window that calls it, nor the requests of that window that make no call.

use futures_util::future::join_all;
use hms_harness::grants::Grants;
use hms_harness::host::open_route;
use hms_harness::http::KeepAlive;
use hms_harness::load::Times;
use hms_harness::services::{Fault, Reply, Server};
use hms_harness::{Host, Options, eventually, guest};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};

const CALLERS: u32 = 64;

/// The longest that a call may take, and the time from one call of a caller to its next. The host
/// refuses calls of a dead service at once after the first few: callers that came back at once
/// would be a load of their own.
const CALL: Duration = Duration::from_secs(1);

/// Looks without callers and beside them, in turn, so that both see the same machine.
const LOOKS: usize = 3;

/// Requests of each of the others in one look, one in [`STEP`].
const SAMPLES: u32 = 200;
const STEP: Duration = Duration::from_millis(10);

/// The 99th percentile of the others beside callers, against the one without: times, and the least
/// bound that a busy machine keeps. Whoever waits for a call waits for half of [`CALL`] on average.
const TIMES: f64 = 5.0;
const LEAST_MS: f64 = 100.0;

/// Errors that the callers saw, by kind.
type Told = Mutex<BTreeMap<String, u32>>;

/// A host with a window that may call `url`, and its neighbour.
async fn host(url: &str) -> (Host, Grants) {
    let grants = Grants::new();
    let text = format!(
        "outbound:\n  - to: {url}\n    private: [127.0.0.0/8]\n    timeout: {}ms\n\
         config: {{currency: EUR}}\n",
        CALL.as_millis()
    );
    grants.write("fetcher", &text);
    let host = Host::start_with(Options {
        args: grants.args(),
        routes: vec![
            ("fetcher.yaml", open_route("fetcher")),
            ("victim.yaml", open_route("victim")),
        ],
        ..Default::default()
    })
    .await;
    host.deploy("fetcher", &guest("fetcher").await).await;
    host.deploy("victim", &guest("hello-wasip3").await).await;
    (host, grants)
}

fn answering(listener: TcpListener) -> Server {
    Server::start_on(listener, None, |_| Reply::new(200, json!({})))
}

/// The 99th percentile, in milliseconds, of requests for `path` that keep to their times.
async fn p99(host: &Host, path: &str) -> f64 {
    let mut client = KeepAlive::open(host.gateway()).await;
    let (begun, mut times) = (Instant::now(), Times::default());
    for turn in 0..SAMPLES {
        let due = begun + STEP * turn;
        tokio::time::sleep_until(due.into()).await;
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        times.add(due.elapsed());
    }
    times.percentile_ms(99.0)
}

/// The same of the neighbour, and of a request to the window that calls nobody.
async fn others(host: &Host) -> [f64; 2] {
    let (neighbour, same) =
        tokio::join!(p99(host, "/victim"), p99(host, "/fetcher/config/currency"));
    [neighbour, same]
}

/// Calls the service again and again; caller `number` begins at its part of [`CALL`], so that they
/// do not come all at once.
async fn caller(host: &Host, url: &str, told: &Told, number: u32) {
    let begun = Instant::now() + CALL * number / CALLERS;
    for turn in 0.. {
        tokio::time::sleep_until((begun + CALL * turn).into()).await;
        let answer = host.get(&format!("/fetcher/fail?url={url}/")).await;
        // Its own requests are answered too, with the error.
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kind = answer.json()["kind"].as_str().unwrap().to_owned();
        *told.lock().unwrap().entry(kind).or_default() += 1;
    }
}

/// What the others see while the service at `url` is called, once every caller has been told that
/// it is dead.
async fn beside_callers(host: &Host, url: &str, told: &Told) -> [f64; 2] {
    let before = told.lock().unwrap().values().sum::<u32>();
    let callers = join_all((0..CALLERS).map(|number| caller(host, url, told, number)));
    let looking = async {
        eventually("every caller was told once", || async {
            let now = told.lock().unwrap().values().sum::<u32>();
            (now - before >= CALLERS).then_some(())
        })
        .await;
        others(host).await
    };
    tokio::select! {
        _ = callers => unreachable!("they never stop"),
        seen = looking => seen,
    }
}

/// Holds that the callers of the dead service at `url` are told one of `kinds`, and that nobody
/// else waits for them.
async fn others_are_served(host: &Host, url: &str, kinds: &[&str]) {
    // Connections, instances and native code are as they stay.
    others(host).await;
    let (told, mut quiet, mut beside) = (Told::default(), Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        quiet.push(others(host).await);
        beside.push(beside_callers(host, url, &told).await);
    }
    let told = told.into_inner().unwrap();
    println!("p99 ms [neighbour, same window]: quiet {quiet:.1?}, beside {beside:.1?}; {told:?}");
    assert!(told.keys().all(|kind| kinds.contains(&&**kind)), "{told:?}");
    for (which, who) in ["the neighbour", "the same window"].into_iter().enumerate() {
        // What else runs on the machine only adds: the least is nearest to what the host does.
        let least = |looks: &[[f64; 2]]| {
            let all = looks.iter().map(|look| look[which]);
            all.fold(f64::INFINITY, f64::min)
        };
        let (quiet, beside) = (least(&quiet), least(&beside));
        let most = (quiet * TIMES).max(LEAST_MS);
        assert!(
            beside <= most,
            "{who}: {quiet:.1} ms quiet, {beside:.1} ms beside"
        );
    }
}

/// Holds that calls succeed again, as many at once as failed before.
async fn calls_succeed(host: &Host, url: &str) {
    let path = format!("/fetcher/get?url={url}/");
    eventually("the service is called again", || async {
        (host.get(&path).await.status == 200).then_some(())
    })
    .await;
    for answer in join_all((0..CALLERS).map(|_| host.get(&path))).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_never_answers_slows_nobody_but_its_callers() {
    let _alone = super::alone().await;
    let service = answering(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = service.url();
    let (host, _grants) = host(&url).await;
    service.fail(Fault::Slow(Duration::from_secs(3600)), usize::MAX);
    others_are_served(&host, &url, &["Timeout"]).await;
    service.recover();
    calls_succeed(&host, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_refuses_connections_slows_nobody_and_is_called_again_when_it_is_back() {
    let _alone = super::alone().await;
    // Bound and not listening: the port refuses, and nobody else gets it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let (host, _grants) = host(&url).await;
    others_are_served(&host, &url, &["Refused", "Unavailable"]).await;
    let _service = answering(socket.listen(1024).unwrap());
    calls_succeed(&host, &url).await;
}
