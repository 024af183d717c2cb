//! `hms requests`: the last requests, and where the time of one went.

use super::HostArgs;
use super::show::{dash, or_dash, size, table, text, time};
use clap::Args;
use form_urlencoded::Serializer;
use hms_api::{RequestList, RequestTrace, SpanTrace};
use hms_telemetry::print_json;
use hms_windows::WindowName;
use http::Method;

/// Characters of the bar that stands for the whole time of a request.
const BAR: usize = 40;

/// List the last requests, or show where the time of one went.
#[derive(Debug, Args)]
pub(super) struct Requests {
    /// The id of one request, as in the header x-request-id and in the log; or that of a trace
    #[arg(value_name = "ID", conflicts_with_all = ["failed", "slow", "window", "limit"])]
    id: Option<String>,
    /// Only failed ones: answered with a 5xx status
    #[arg(long)]
    failed: bool,
    /// Only slow ones; with --failed, those that are one of both
    #[arg(long)]
    slow: bool,
    /// Only those for this window
    #[arg(long, value_name = "NAME")]
    window: Option<WindowName>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Requests {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = match &self.id {
            Some(id) => format!("/requests/{}", segment(id)),
            None => format!("/requests?{}", self.query()),
        };
        let answer = self.host.client()?.call(Method::GET, &path).await?;
        if self.json {
            print_json(&answer.read()?);
            return Ok(());
        }
        match &self.id {
            Some(id) => {
                let request: RequestTrace = answer.read()?;
                print_request(&request);
                if *id == request.trace_id {
                    self.print_others(&request).await?;
                }
            }
            None => print_list(&answer.read()?),
        }
        Ok(())
    }

    /// What else is of the trace of `first`, such as deliveries of the events that it emitted.
    async fn print_others(&self, first: &RequestTrace) -> anyhow::Result<()> {
        let path = format!("/requests?trace={}", segment(&first.trace_id));
        let answer = self.host.client()?.call(Method::GET, &path).await?;
        let mut list: RequestList = answer.read()?;
        list.requests.retain(|other| other.span_id != first.span_id);
        if !list.requests.is_empty() {
            say!("");
            say!("also in this trace, the latest first:");
            print_list(&list);
        }
        Ok(())
    }

    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        if self.failed {
            query.append_pair("failed", "true");
        }
        if self.slow {
            query.append_pair("slow", "true");
        }
        if let Some(window) = &self.window {
            query.append_pair("window", window.as_str());
        }
        query.finish()
    }
}

/// What can be a request id, and nothing that would be another path.
fn segment(id: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    id.chars().filter(plain).collect()
}

fn print_list(list: &RequestList) {
    let rows = list.requests.iter().map(|request| {
        [
            time(request.started),
            text(&request.request_id),
            text(&request.method),
            text(&request.path),
            whom(request),
            or_dash(request.status),
            format!("{:.1}", request.duration_ms),
            request.error.as_deref().map_or_else(dash, text),
        ]
    });
    table(
        [
            "STARTED", "REQUEST", "METHOD", "PATH", "FOR", "STATUS", "MS", "ERROR",
        ],
        rows.collect(),
    );
}

fn whom(request: &RequestTrace) -> String {
    let whom = request.window.as_ref().or(request.service.as_ref());
    match (whom, request.release) {
        (None, _) => dash(),
        (Some(name), None) => text(name),
        (Some(name), Some(release)) => format!("{} {release}", text(name)),
    }
}

fn print_request(request: &RequestTrace) {
    say!(
        "{} {} -> {}",
        text(&request.method),
        text(&request.path),
        request.status.map_or_else(
            || if request.failed { "failed" } else { "done" }.to_owned(),
            |status| status.to_string()
        )
    );
    let facts = [
        ("request", Some(text(&request.request_id))),
        ("trace", Some(text(&request.trace_id))),
        ("started", Some(time(request.started))),
        ("route", request.route.as_deref().map(text)),
        ("for", Some(whom(request)).filter(|whom| *whom != dash())),
        ("error", request.error.as_deref().map(text)),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            say!("{name:<8} {fact}");
        }
    }
    say!("");
    let whole = request.duration_ms;
    let line = |name: &str, start: f64, took: f64, mark: &str| {
        let bar = bar(start, took, whole);
        say!("{name:<36} {bar} {took:>10.3} ms{mark}");
    };
    line("request", 0.0, whole, "");
    for span in &request.spans {
        let depth = depth(span, &request.spans);
        let name = format!("{}{}", "  ".repeat(depth + 1), text(&span.name));
        let name = match &span.detail {
            Some(detail) => format!("{name} {}", text(detail)),
            None => name,
        };
        let mark = match (span.failed, span.open) {
            (true, _) => "  failed",
            (false, true) => "  still at work",
            (false, false) => "",
        };
        let mark = format!("{mark}{}", used(span));
        line(&name, span.start_ms, span.duration_ms, &mark);
    }
    if request.spans_left_out > 0 {
        say!("{} further parts are not kept", request.spans_left_out);
    }
}

/// What a guest used for it, where that is known.
fn used(span: &SpanTrace) -> String {
    match (span.cpu_ms, span.memory_peak_bytes) {
        (Some(cpu_ms), Some(bytes)) => format!("  CPU {cpu_ms} ms, memory {}", size(bytes)),
        _ => String::new(),
    }
}

/// How far below the whole it is.
fn depth(span: &SpanTrace, all: &[SpanTrace]) -> usize {
    let mut depth = 0;
    let mut at = span;
    // What the host says is a tree; what somebody else says may be anything.
    while let Some(parent) = all.iter().find(|other| other.span_id == at.parent_id)
        && depth < all.len()
    {
        (depth, at) = (depth + 1, parent);
    }
    depth
}

fn bar(start: f64, took: f64, whole: f64) -> String {
    let place = |ms: f64| match whole > 0.0 {
        true => ((ms / whole * BAR as f64).round() as usize).min(BAR),
        false => 0,
    };
    let begin = place(start).min(BAR - 1);
    let end = place(start + took).max(begin + 1);
    let filled = (0..BAR).map(|at| if (begin..end).contains(&at) { '=' } else { '.' });
    filled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_shows_when_a_part_began_and_how_long_it_took() {
        assert_eq!(bar(0.0, 10.0, 10.0), "=".repeat(40));
        let half = format!("{}{}{}", ".".repeat(20), "=".repeat(10), ".".repeat(10));
        assert_eq!(bar(5.0, 2.5, 10.0), half);
        assert!(bar(10.0, 0.0, 10.0).ends_with(".="));
        assert_eq!(bar(0.0, 0.0, 0.0).len(), 40);
    }

    #[test]
    fn id_of_a_request_is_never_another_path() {
        assert_eq!(segment("../a/b?x=1"), "..abx1");
    }
}
