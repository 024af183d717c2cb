//! The table of all windows.

use super::sorting::{Head, Sorting};
use super::{Frame, shown};
use crate::Dashboard;
use crate::api::Api;
use crate::series::{Gauges, Now};
use crate::show::{self, NONE};
use askama::Template;
use hms_api::{Problem, WindowList, WindowState, WindowStatus};

/// Which rows are shown, and in which order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    sorting: Sorting,
    /// Only windows whose name or state has this in it.
    filter: String,
}

impl Shown {
    pub(crate) fn read(query: &str) -> Self {
        let mut shown = Shown::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sort" => shown.sorting = Sorting::read(&value),
                "filter" => shown.filter = value.trim().to_lowercase(),
                _ => {}
            }
        }
        shown
    }

    fn query(&self) -> String {
        let sign = if self.sorting.descending { "-" } else { "" };
        let sort = format!("{sign}{}", self.sorting.column);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("sort", &sort)
            .append_pair("filter", &self.filter);
        query.finish()
    }
}

#[derive(Template)]
#[template(path = "windows.html", blocks = ["live"])]
pub(crate) struct Windows {
    frame: Frame,
    heads: Vec<Head>,
    rows: Vec<Row>,
    all: usize,
    filter: String,
    sort: String,
    rate: String,
    failures: String,
    p99: String,
}

shown!(Windows);

struct Row {
    name: String,
    state: String,
    mood: &'static str,
    release: u64,
    now: Now,
    rate: String,
    failures: String,
    p99: String,
    instances: String,
    used: u64,
    queued: usize,
    store: String,
    stored: u64,
    canary: String,
    notes: Vec<String>,
}

/// How a state is to be taken: a class of the style sheet.
pub(crate) fn mood(state: &WindowState) -> &'static str {
    match state {
        WindowState::Open => "good",
        WindowState::Stopped | WindowState::Removing => "idle",
        WindowState::HalfOpen => "odd",
        _ => "bad",
    }
}

/// A number of what it is at most.
pub(crate) fn of_limit(used: u64, limit: Option<&u64>) -> String {
    match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used.to_string(),
    }
}

/// The same in bytes.
pub(crate) fn bytes_of_limit(used: Option<u64>, limit: Option<&u64>) -> String {
    match (used, limit) {
        (None, None) => NONE.into(),
        (None, Some(limit)) => format!("{NONE} of {}", show::bytes(*limit)),
        (Some(used), None) => show::bytes(used),
        (Some(used), Some(limit)) => format!("{} of {}", show::bytes(used), show::bytes(*limit)),
    }
}

/// What a person should know of a window, in short.
pub(crate) fn notes(window: &WindowStatus) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(window.store_fault.clone());
    notes.extend(window.unreadable.clone());
    if let Some(failures) = window.tripped {
        notes.push(format!(
            "closed by its breaker after {failures} failures in a row"
        ));
    }
    if let Some(unsaved) = &window.unsaved {
        notes.push(format!(
            "the last change is not on disk yet: {}",
            unsaved.why
        ));
    }
    notes.extend(window.reuse_off.clone());
    if let Some(deliveries) = &window.deliveries {
        if deliveries.parked > 0 {
            notes.push(format!("{} parked events", deliveries.parked));
        }
        if !deliveries.paused.is_empty() {
            notes.push(format!("paused: {}", deliveries.paused.join(", ")));
        }
    }
    notes
}

impl Row {
    fn of(window: WindowStatus, now: Now, gauges: Gauges) -> Row {
        let limit = |name: &str| window.limits.get(name);
        let used = gauges.instances.unwrap_or(window.leases as u64);
        Row {
            mood: mood(&window.state),
            release: window.live.as_ref().map_or(0, |live| live.number),
            rate: show::rate(now.rate),
            failures: show::share(now.failures, now.rate),
            p99: show::ms(now.p99),
            instances: of_limit(used, limit("instances")),
            used,
            queued: window.queued,
            store: bytes_of_limit(gauges.store_bytes, limit("store_bytes")),
            stored: gauges.store_bytes.unwrap_or(0),
            canary: match &window.canary {
                Some(canary) => format!("{} to release {}", canary.share, canary.number),
                None => NONE.into(),
            },
            notes: notes(&window),
            state: window.state.as_str().to_owned(),
            name: window.name,
            now,
        }
    }

    fn has(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.state.contains(filter)
    }
}

pub(crate) async fn page(
    dashboard: &Dashboard,
    api: &Api,
    shown: &Shown,
) -> Result<Windows, Problem> {
    let list: WindowList = api.get("/windows").await?;
    let mut now = dashboard.series.windows_now();
    let all = list.windows.len();
    let rows = list.windows.into_iter().map(|window| {
        let (now, gauges) = now.remove(&window.name).unwrap_or_default();
        Row::of(window, now, gauges)
    });
    let mut rows: Vec<Row> = rows.filter(|row| row.has(&shown.filter)).collect();
    rows.sort_by(|a, b| {
        let order = match shown.sorting.column.as_str() {
            "state" => a.state.cmp(&b.state),
            "release" => a.release.cmp(&b.release),
            "rate" => a.now.rate.total_cmp(&b.now.rate),
            "errors" => a.now.failures.total_cmp(&b.now.failures),
            "p99" => a
                .now
                .p99
                .unwrap_or(0.0)
                .total_cmp(&b.now.p99.unwrap_or(0.0)),
            "instances" => a.used.cmp(&b.used),
            "queue" => a.queued.cmp(&b.queued),
            "store" => a.stored.cmp(&b.stored),
            "canary" => a.canary.cmp(&b.canary),
            _ => a.name.cmp(&b.name),
        };
        shown.sorting.apply(order).then_with(|| a.name.cmp(&b.name))
    });
    let mut filter = form_urlencoded::Serializer::new(String::new());
    let keep = match shown.filter.is_empty() {
        true => String::new(),
        false => format!("&{}", filter.append_pair("filter", &shown.filter).finish()),
    };
    let heads = [
        ("Window", "name", false),
        ("State", "state", false),
        ("Release", "release", true),
        ("Requests/s", "rate", true),
        ("Errors", "errors", true),
        ("p99", "p99", true),
        ("Instances", "instances", true),
        ("Queue", "queue", true),
        ("Store", "store", true),
        ("Canary", "canary", false),
    ];
    let host = dashboard.series.host_now();
    let heads =
        heads.map(|(title, column, is_number)| shown.sorting.head(title, column, is_number, &keep));
    Ok(Windows {
        frame: Frame::of("windows", &format!("?{}", shown.query())),
        heads: heads.into(),
        rows,
        all,
        sort: format!(
            "{}{}",
            if shown.sorting.descending { "-" } else { "" },
            shown.sorting.column
        ),
        filter: shown.filter.clone(),
        rate: show::rate(host.rate),
        failures: show::share(host.failures, host.rate),
        p99: show::ms(host.p99),
    })
}
