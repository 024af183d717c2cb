//! The pages of one window, except that of its events.

use super::windows::{bytes_of_limit, mood, notes, of_limit};
use super::{Frame, shown};
use crate::Dashboard;
use crate::api::Api;
use crate::show::{self, NONE, When};
use askama::Template;
use hms_api::{
    CanaryStatus, GrantsDetail, Problem, Release, ShownLimits, SideStatus, WindowDetail,
};

/// The tabs of a window: the last part of the path, and the title.
pub(crate) const TABS: [(&str, &str); 6] = [
    ("", "Overview"),
    ("/log", "Log"),
    ("/limits", "Limits"),
    ("/grants", "Grants"),
    ("/events", "Events"),
    ("/store", "Store"),
];

/// Characters of a digest that are shown.
const SHORT: usize = 12;

#[derive(Template)]
#[template(path = "deploy.html", blocks = ["live"])]
pub(crate) struct Deploy {
    frame: Frame,
}

impl Deploy {
    pub(crate) fn new() -> Self {
        Deploy {
            frame: Frame::still("windows"),
        }
    }
}

#[derive(Template)]
#[template(path = "window.html", blocks = ["live"])]
pub(crate) struct Window {
    frame: Frame,
    name: String,
    tab: &'static str,
    state: String,
    mood: &'static str,
    is_open: bool,
    release: String,
    rate: String,
    failures: String,
    p50: String,
    p99: String,
    instances: String,
    queued: usize,
    store: String,
    notes: Vec<String>,
    draining: Vec<(u64, usize)>,
    reasons: Vec<(String, u64)>,
    canary: Option<Canary>,
    releases: Vec<ReleaseRow>,
}

struct Canary {
    number: u64,
    share: String,
    /// The share as a number of percent, for the fields.
    percent: String,
    skipped: u64,
    sides: [Side; 2],
}

struct Side {
    title: String,
    requests: u64,
    failures: u64,
    p99: String,
}

struct ReleaseRow {
    number: u64,
    is_live: bool,
    is_canary: bool,
    digest: String,
    size: String,
    when: When,
    by: String,
    outcome: String,
}

shown!(Deploy, Window, Log, Limits, Grants);

impl Canary {
    fn of(canary: &CanaryStatus) -> Canary {
        let side = |title: String, side: &SideStatus| Side {
            title,
            requests: side.requests,
            failures: side.failures,
            p99: show::ms(side.p99_ms.map(|ms| ms as f32)),
        };
        Canary {
            number: canary.number,
            percent: canary.share.trim_end_matches('%').to_owned(),
            share: canary.share.clone(),
            skipped: canary.skipped,
            sides: [
                side(
                    format!("Release {} (canary)", canary.number),
                    &canary.candidate,
                ),
                side("Live release".into(), &canary.live),
            ],
        }
    }
}

pub(crate) async fn page(dashboard: &Dashboard, api: &Api, name: &str) -> Result<Window, Problem> {
    let WindowDetail { window, releases } = api.get(&format!("/windows/{name}")).await?;
    let (now, gauges) = dashboard
        .series
        .windows_now()
        .remove(name)
        .unwrap_or_default();
    let live = window.live.as_ref().map(|live| live.number);
    let candidate = window.canary.as_ref().map(|canary| canary.number);
    let row = |release: &Release| ReleaseRow {
        number: release.number,
        is_live: live == Some(release.number),
        is_canary: candidate == Some(release.number),
        digest: release.digest.chars().take(SHORT).collect(),
        size: show::bytes(release.size),
        when: show::when(release.deployed_at),
        by: release.by.clone(),
        outcome: release.outcome.clone().unwrap_or_default(),
    };
    let used = gauges.instances.unwrap_or(window.leases as u64);
    Ok(Window {
        frame: Frame::of("windows", &format!("windows/{name}")),
        name: name.to_owned(),
        tab: "",
        mood: mood(&window.state),
        is_open: window.state != hms_api::WindowState::Stopped,
        state: window.state.as_str().to_owned(),
        release: live.map_or(NONE.into(), |number| number.to_string()),
        rate: show::rate(now.rate),
        failures: show::share(now.failures, now.rate),
        p50: show::ms(now.p50),
        p99: show::ms(now.p99),
        instances: of_limit(used, window.limits.get("instances")),
        queued: window.queued,
        store: bytes_of_limit(gauges.store_bytes, window.limits.get("store_bytes")),
        notes: notes(&window),
        draining: window
            .draining
            .iter()
            .map(|old| (old.number, old.leases))
            .collect(),
        reasons: window
            .failures
            .iter()
            .map(|(why, count)| (why.to_string(), *count))
            .collect(),
        canary: window.canary.as_ref().map(Canary::of),
        releases: releases.iter().rev().map(row).collect(),
    })
}

#[derive(Template)]
#[template(path = "log.html", blocks = ["live"])]
pub(crate) struct Log {
    frame: Frame,
    name: String,
    tab: &'static str,
}

pub(crate) async fn log(api: &Api, name: &str) -> Result<Log, Problem> {
    exists(api, name).await?;
    Ok(Log {
        frame: Frame::of("windows", &format!("windows/{name}/log")),
        name: name.to_owned(),
        tab: "/log",
    })
}

async fn exists(api: &Api, name: &str) -> Result<WindowDetail, Problem> {
    api.get(&format!("/windows/{name}")).await
}

#[derive(Template)]
#[template(path = "limits.html", blocks = ["live"])]
pub(crate) struct Limits {
    frame: Frame,
    name: String,
    tab: &'static str,
    rows: Vec<LimitRow>,
    reuse_off: Option<String>,
}

struct LimitRow {
    name: String,
    value: u64,
    /// As it was set for the window; empty if it was not.
    set: String,
    /// The file and line that set it over all others.
    place: Option<String>,
    /// The value in words.
    now: String,
}

/// What a limit is now, in the unit that the end of its name says.
fn in_words(name: &str, value: u64) -> String {
    match name {
        name if name.ends_with("_bytes") => format!("in bytes; now {}", show::bytes(value)),
        name if name.ends_with("_ms") => {
            format!("in milliseconds; now {}", show::ms(Some(value as f32)))
        }
        name if name.ends_with("_per_s") => format!("a second; now {value}"),
        name if name.ends_with("_s") => format!("in seconds; now {}", show::duration(value)),
        _ => format!("now {value}"),
    }
}

pub(crate) async fn limits(api: &Api, name: &str) -> Result<Limits, Problem> {
    let limits: ShownLimits = api.get(&format!("/windows/{name}/limits")).await?;
    let place = |name: &str| {
        let source = limits
            .values
            .sources
            .iter()
            .find(|source| source.limit == name);
        source.map(|source| source.place.clone())
    };
    let row = |(name, value): (&hms_api::Word, &u64)| LimitRow {
        name: name.to_string(),
        value: *value,
        set: limits
            .values
            .set
            .get(name)
            .map(u64::to_string)
            .unwrap_or_default(),
        place: place(name),
        now: in_words(name, *value),
    };
    Ok(Limits {
        frame: Frame::still("windows"),
        name: name.to_owned(),
        tab: "/limits",
        rows: limits.values.limits.iter().map(row).collect(),
        reuse_off: limits.reuse_off.clone(),
    })
}

#[derive(Template)]
#[template(path = "grants.html", blocks = ["live"])]
pub(crate) struct Grants {
    frame: Frame,
    name: String,
    tab: &'static str,
    detail: Option<GrantsDetail>,
    text: String,
}

/// A window without a file is granted nothing, which is no fault.
pub(crate) async fn grants(api: &Api, name: &str) -> Result<Grants, Problem> {
    exists(api, name).await?;
    let detail: Option<GrantsDetail> = match api.get(&format!("/windows/{name}/grants")).await {
        Ok(detail) => Some(detail),
        Err(problem) if problem.status == 404 => None,
        Err(problem) => return Err(problem),
    };
    let text = detail
        .as_ref()
        .and_then(|detail: &GrantsDetail| detail.manifest.clone());
    Ok(Grants {
        frame: Frame::of("windows", &format!("windows/{name}/grants")),
        name: name.to_owned(),
        tab: "/grants",
        text: text.unwrap_or_default(),
        detail,
    })
}
