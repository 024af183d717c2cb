//! What leaves a window by the real `hms`, as its grants file says: to services, which are real
//! HTTP servers, and to other windows. Guests of both generations of WASI HTTP call.
//!
//! [`rules`] is what may be called, [`places`] where that may lead, [`heads`] what is said of a
//! request, [`faults`] what becomes of a service's failures, [`windows`] calls between windows, and
//! [`secrets`] where no secret stands.

mod faults;
mod heads;
mod places;
mod rules;
mod secrets;
mod windows;

use hms_harness::grants::Grants;
use hms_harness::host::open_route;
use hms_harness::services::{Reply, Server};
use hms_harness::{Answer, Host, Options, guest};
use serde_json::json;

/// Guests that call the URL in their query: WASI 0.3 and 0.2.
const CALLERS: [&str; 2] = ["caller", "caller-wstd"];

/// These windows, by name and guest, each below its name, with what they are granted.
async fn host(windows: &[(&'static str, &str)], grants: &Grants, args: &[&str]) -> Host {
    host_by(windows, grants, args, open_route).await
}

/// The same with routes of their own.
async fn host_by(
    windows: &[(&'static str, &str)],
    grants: &Grants,
    args: &[&str],
    route: impl Fn(&str) -> String,
) -> Host {
    let file = |name: &str| -> &'static str { Box::leak(format!("{name}.yaml").into_boxed_str()) };
    let mut all = grants.args();
    all.extend(args.iter().map(|arg| arg.to_string()));
    let host = Host::start_with(Options {
        args: all,
        routes: windows
            .iter()
            .map(|(name, _)| (file(name), route(name)))
            .collect(),
        up: None,
    })
    .await;
    for (name, component) in windows {
        host.deploy(name, &guest(component).await).await;
    }
    host
}

/// The grant of a service on this machine, with more of its fields.
fn to(url: &str, more: &str) -> String {
    format!("outbound:\n  - to: \"{url}\"\n    private: [127.0.0.0/8, \"::1/128\"]\n{more}")
}

async fn service() -> Server {
    Server::start(|seen| Reply::new(200, json!({ "path": seen.path }))).await
}

/// What window `w`, which calls, answers.
async fn ask(host: &Host, how: &str, url: &str) -> Answer {
    host.get(&format!("/w/{how}?{url}")).await
}

async fn cli(host: &Host, verb: &str, args: &[&str]) -> String {
    let output = host.cli(verb, args).await;
    assert!(output.status.success(), "{verb} {args:?}: {output:?}");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

/// Until a call fails by this name of WASI HTTP.
async fn fails_by(host: &Host, url: &str, code: &str) {
    let what = format!("{url} fails by {code}");
    let mut last = String::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < end {
        let answer = ask(host, "get", url).await;
        last = answer.text();
        if answer.status == 502 && last.contains(code) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{what}, and not by {last}");
}
