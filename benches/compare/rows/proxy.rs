//! Row 9: an ordinary service behind the gateway alone, against nginx in front of the same.

use super::{Settings, guarded};
use crate::ours::Ours;
use crate::peers::Nginx;
use crate::table::Row;
use hms_harness::pairs::Pairs;
use hms_harness::wrk::Load;

pub fn run(settings: &Settings) -> anyhow::Result<Row> {
    let service = Nginx::start("", "location / { return 200 'hello\\n'; }")?;
    let address = service.url.trim_start_matches("http://");
    let theirs = Nginx::start(
        &format!("upstream service {{ server {address}; keepalive 64; }}"),
        "location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ''; }",
    )?;
    let ours = Ours::start(
        &[("service", guarded("/service/**", &service.url))],
        &["--upstream-allow", "127.0.0.1"],
    )?;
    let bearer = ours.bearer(&[])?;
    let pairs = Pairs::take(
        settings.pairs,
        || {
            Load::get(ours.url("/service"))
                .header("authorization", &bearer)
                .run(settings.time)
        },
        || Load::get(theirs.url.clone()).run(settings.time),
    )?;
    let work = "a service on loopback, with token and limit";
    Ok(Row::of_pairs(
        "9",
        work,
        "nginx in front of it, no token",
        Some(0.35),
        &pairs,
    ))
}
