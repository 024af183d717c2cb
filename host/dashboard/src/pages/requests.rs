//! Requests that are over: the last ones, those that failed or were slow, and the parts of one.

use super::{Frame, plain_name, shown};
use crate::api::Api;
use crate::show::{self, NONE, When};
use askama::Template;
use hms_api::{Problem, RequestList, RequestTrace, SpanTrace};

/// Requests of a list that is live. 100: it is sent again each second, and is a screen or two.
const SHOWN: usize = 100;

/// Requests of a whole list. 700: all that the host keeps.
const KEPT: usize = 700;

/// The width of the waterfall in its own units.
const WIDTH: f64 = 1000.0;

/// The least width of a part in the waterfall, so that it is seen.
const LEAST: f64 = 2.0;

/// Which requests are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    failed: bool,
    slow: bool,
    window: String,
    /// In the ID of the request or of its trace.
    id: String,
    /// Not only the latest.
    all: bool,
}

impl Wanted {
    pub(crate) fn read(query: &str) -> Self {
        let mut wanted = Wanted::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            match &*name {
                "failed" => wanted.failed = value == "true",
                "slow" => wanted.slow = value == "true",
                "all" => wanted.all = value == "true",
                "window" if plain_name(value) => wanted.window = value.to_owned(),
                "id" => wanted.id = value.to_owned(),
                _ => {}
            }
        }
        wanted
    }

    /// What the admin API is asked for. It knows nothing of parts of IDs, so those are looked for
    /// in all that it has.
    fn query(&self) -> String {
        let limit = match self.all || !self.id.is_empty() {
            true => KEPT,
            false => SHOWN + 1,
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        self.append_to(&mut query);
        query.finish()
    }

    /// The page with the same.
    fn page(&self, all: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        self.append_to(&mut query);
        for (name, value) in [("id", &*self.id), ("all", if all { "true" } else { "" })] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn append_to(&self, query: &mut form_urlencoded::Serializer<'_, String>) {
        for (name, is_set) in [("failed", self.failed), ("slow", self.slow)] {
            if is_set {
                query.append_pair(name, "true");
            }
        }
        if !self.window.is_empty() {
            query.append_pair("window", &self.window);
        }
    }

    fn fits(&self, request: &RequestTrace) -> bool {
        request.request_id.contains(&self.id) || request.trace_id.contains(&self.id)
    }
}

#[derive(Template)]
#[template(path = "requests.html", blocks = ["live"])]
pub(crate) struct Requests {
    frame: Frame,
    failed: bool,
    slow: bool,
    window: String,
    id: String,
    rows: Vec<Row>,
    /// The query of the page with older ones, where there are some.
    older: Option<String>,
    /// The query of the page that follows the host, on one that does not.
    latest: Option<String>,
}

#[derive(Template)]
#[template(path = "request.html", blocks = ["live"])]
pub(crate) struct Request {
    frame: Frame,
    row: Row,
    trace_id: String,
    route: String,
    error: String,
    head: String,
    bars: Vec<Bar>,
    left_out: u32,
}

shown!(Requests, Request);

struct Row {
    id: String,
    /// Which no other row has.
    span_id: String,
    /// Whether the page of the request can be asked for.
    has_page: bool,
    kind: String,
    when: When,
    method: String,
    path: String,
    target: String,
    release: String,
    status: String,
    duration: String,
    failed: bool,
    slow: bool,
}

/// A part of the work, as a bar below a time axis.
struct Bar {
    name: String,
    detail: String,
    /// In how many others it is.
    depth: usize,
    x: String,
    width: String,
    start: String,
    duration: String,
    failed: bool,
    open: bool,
}

fn ms(ms: f64) -> String {
    show::ms(Some(ms as f32))
}

impl Row {
    fn of(request: &RequestTrace) -> Row {
        let target = request.window.clone().or_else(|| request.service.clone());
        Row {
            has_page: plain_name(&request.request_id),
            id: request.request_id.clone(),
            span_id: request.span_id.clone(),
            kind: request.kind.as_str().to_owned(),
            when: show::when(request.started),
            method: request.method.clone(),
            path: request.path.clone(),
            target: target.unwrap_or_else(|| NONE.into()),
            release: request
                .release
                .map_or(NONE.into(), |release| release.to_string()),
            status: request
                .status
                .map_or(NONE.into(), |status| status.to_string()),
            duration: ms(request.duration_ms),
            failed: request.failed,
            slow: request.slow,
        }
    }
}

pub(crate) async fn list(api: &Api, wanted: &Wanted) -> Result<Requests, Problem> {
    let path = format!("/requests?{}", wanted.query());
    let list: RequestList = api.get(&path).await?;
    let fit = list.requests.iter().filter(|request| wanted.fits(request));
    let mut rows: Vec<Row> = fit.map(Row::of).collect();
    let has_older = !wanted.all && rows.len() > SHOWN;
    if has_older {
        rows.truncate(SHOWN);
    }
    Ok(Requests {
        frame: match wanted.all {
            true => Frame::still("requests"),
            false => Frame::of("requests", &format!("requests?{}", wanted.page(false))),
        },
        older: has_older.then(|| wanted.page(true)),
        latest: wanted.all.then(|| wanted.page(false)),
        failed: wanted.failed,
        slow: wanted.slow,
        window: wanted.window.clone(),
        id: wanted.id.clone(),
        rows,
    })
}

pub(crate) async fn show(api: &Api, id: &str) -> Result<Request, Problem> {
    let request: RequestTrace = api.get(&format!("/requests/{id}")).await?;
    Ok(Request {
        frame: Frame::still("requests"),
        row: Row::of(&request),
        trace_id: request.trace_id.clone(),
        route: request.route.clone().unwrap_or_else(|| NONE.into()),
        error: request
            .error
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        head: request.head_ms.map_or(NONE.into(), ms),
        bars: bars(&request),
        left_out: request.spans_left_out,
    })
}

fn bars(request: &RequestTrace) -> Vec<Bar> {
    let end = |span: &SpanTrace| span.start_ms + span.duration_ms;
    let ends = request.spans.iter().map(end);
    let total = ends.fold(request.duration_ms, f64::max).max(0.001);
    let bar = |span: &SpanTrace| {
        let width = (span.duration_ms / total * WIDTH).max(LEAST);
        let x = (span.start_ms / total * WIDTH).min(WIDTH - width).max(0.0);
        Bar {
            name: span.name.to_string(),
            detail: span.detail.clone().unwrap_or_default(),
            depth: depth(request, span),
            x: format!("{x:.1}"),
            width: format!("{width:.1}"),
            start: ms(span.start_ms),
            duration: ms(span.duration_ms),
            failed: span.failed,
            open: span.open,
        }
    };
    request.spans.iter().map(bar).collect()
}

/// In how many others a part is. Parts have at most 64 others.
fn depth(request: &RequestTrace, span: &SpanTrace) -> usize {
    let (mut depth, mut parent) = (0, &span.parent_id);
    while let Some(above) = request.spans.iter().find(|above| above.span_id == *parent) {
        (depth, parent) = (depth + 1, &above.parent_id);
        if depth > request.spans.len() {
            break;
        }
    }
    depth
}
