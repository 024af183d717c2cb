//! What the gateway does before a request has an upstream.

use divan::{Bencher, black_box};
use hms_core::path::normalise;
use hms_gateway::plugins::auth::{AuthConfig, KeySource, Rule, Verifier, dev_secret, issue_token};
use hms_gateway::plugins::rate_limit::{Limiter, Rule as Limit};
use hms_gateway::routes::manifest::Route;
use hms_gateway::routes::{ActiveRoute, Table};
use http::{HeaderMap, Method, header};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A table of as many routes, and a path that the last of them takes.
fn table(routes: usize) -> (Table, String) {
    let route = |n| {
        let text = format!("uri: /api/v1/window-{n}/**\nupstream: http://hms-svc-window-{n}\n");
        ActiveRoute::new(Route::parse(&format!("window-{n}"), &text).expect("a route"))
    };
    let path = format!("/api/v1/window-{}/items/42", routes - 1);
    (Table::new((0..routes).map(route)), path)
}

#[divan::bench(args = [1, 10, 100, 1000])]
fn route_match(bencher: Bencher, routes: usize) {
    let (table, path) = table(routes);
    bencher.bench(|| {
        matches!(
            table.find(Some("example.org"), &Method::GET, black_box(&path)),
            hms_gateway::routes::RouteMatch::Route(_)
        )
    });
}

#[divan::bench]
fn path_in_its_one_form() -> Result<String, &'static str> {
    normalise(black_box(
        "/api/v1/payments/018f9e7a-1234-7abc-8def-0123456789ab",
    ))
}

fn verifier() -> (Verifier, HeaderMap, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = dev_secret::load_or_create(folder.path()).expect("a secret");
    let scopes = ["payments.read".to_string()];
    let token = issue_token(&secret, "alice", &scopes, Duration::from_secs(3600)).expect("a token");
    let mut headers = HeaderMap::new();
    let value = format!("Bearer {token}").parse().expect("a value");
    headers.insert(header::AUTHORIZATION, value);
    (
        Verifier::new(AuthConfig::new(KeySource::DevSecret(secret))),
        headers,
        token,
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[divan::bench]
fn token_seen_before(bencher: Bencher) {
    let ((verifier, headers, _), runtime) = (verifier(), runtime());
    let rule = Rule::default();
    bencher.bench_local(|| {
        runtime
            .block_on(verifier.caller(black_box(&headers), &rule))
            .is_ok()
    });
}

#[divan::bench]
fn token_first_seen(bencher: Bencher) {
    let runtime = runtime();
    let rule = Rule::default();
    bencher
        .with_inputs(verifier)
        .bench_local_values(|(verifier, headers, _)| {
            runtime.block_on(verifier.caller(&headers, &rule)).is_ok()
        });
}

#[divan::bench(args = [1, 100_000])]
fn limit_of_a_caller_among(bencher: Bencher, callers: usize) {
    let limiter = Limiter::new(200_000);
    let limit = Limit {
        limit: 1_000_000,
        ..Limit::default()
    };
    let (route, headers): (Arc<str>, _) = ("payments".into(), HeaderMap::new());
    let client = IpAddr::from([127, 0, 0, 1]);
    for n in 0..callers {
        limiter.admit(&limit, &route, Some(&format!("user-{n}")), &headers, client);
    }
    bencher.bench(|| limiter.admit(&limit, &route, black_box(Some("user-0")), &headers, client));
}
