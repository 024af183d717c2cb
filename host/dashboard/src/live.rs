//! Live answers: server-sent events, one stream for each page that is open and seen.
//!
//! An unnamed event is the live part of the page as HTML, sent whenever it differs from the last.
//! `series` has points for the plots, and `log` lines of a window's log, both as JSON. A browser
//! has six connections to a host; the script that reads these closes its own while the tab is
//! hidden.

use crate::api::Api;
use crate::pages::{Feed, Page};
use crate::series::Point;
use crate::{Dashboard, reply};
use bytes::Bytes;
use hms_api::{LogLine, LogLines};
use hms_core::body::{Body, BodyError};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Between two looks at what a page shows.
const STEP: Duration = Duration::from_secs(1);

/// Looks without news after which a comment is sent, so that nobody in between takes the connection
/// for dead: 15, so 15 s.
const QUIET_STEPS: u32 = 15;

/// Live pages at once. 16: each looks once a second and holds one of the listener's 64 connections.
const MAX_LIVE: usize = 16;

/// The live pages.
pub(crate) struct Live {
    room: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Live {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Live {
            room: Arc::new(Semaphore::new(MAX_LIVE)),
            shutdown,
        }
    }

    /// Whether somebody looks at a live page.
    pub(crate) fn is_watched(&self) -> bool {
        self.room.available_permits() < MAX_LIVE
    }

    /// Begins the live part of `page`, for the session among `by`. It ends with that, with the
    /// host, and with its connection.
    pub(crate) fn begin(
        &self,
        dashboard: Arc<Dashboard>,
        api: Api,
        page: Page,
        by: Vec<[u8; 32]>,
    ) -> Response<Body> {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            let why = "the limit of open live pages is reached: close one";
            return reply::problem(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stream = Stream {
            dashboard,
            api,
            page,
            by,
            steps,
            quiet: 0,
            shown: String::new(),
            fault: String::new(),
            after: 0.0,
            begun: false,
            log: Tail::default(),
            shutdown: self.shutdown.clone(),
            _room: room,
        };
        let frames = futures_util::stream::unfold(stream, |mut stream| async {
            let text = stream.next().await?;
            Some((Ok::<_, BodyError>(Frame::data(Bytes::from(text))), stream))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        reply::guard(&mut response, "text/event-stream");
        response
    }
}

struct Stream {
    dashboard: Arc<Dashboard>,
    api: Api,
    page: Page,
    /// The digests of the IDs that it was begun with.
    by: Vec<[u8; 32]>,
    steps: Interval,
    quiet: u32,
    /// The HTML that was sent last.
    shown: String,
    /// Why the page cannot be shown as it is now; empty if it can.
    fault: String,
    /// The time of the last point that was sent.
    after: f64,
    begun: bool,
    log: Tail,
    shutdown: CancellationToken,
    _room: OwnedSemaphorePermit,
}

impl Stream {
    /// The next events. None once the host or the session ends.
    async fn next(&mut self) -> Option<String> {
        let shutdown = self.shutdown.clone();
        loop {
            shutdown.run_until_cancelled(self.steps.tick()).await?;
            let credential = shutdown
                .run_until_cancelled(self.api.0.credential())
                .await?;
            if !self.dashboard.sessions.knows_digests(&self.by, credential) {
                return None;
            }
            let text = shutdown.run_until_cancelled(self.look()).await?;
            if !text.is_empty() {
                self.quiet = 0;
                return Some(text);
            }
            self.quiet += 1;
            if self.quiet >= QUIET_STEPS {
                self.quiet = 0;
                return Some(": quiet\n\n".into());
            }
        }
    }

    async fn look(&mut self) -> String {
        let mut text = String::new();
        // The page stays as it was, and says why.
        let fault = match self.dashboard.render(&self.page, &self.api).await {
            Ok(shown) => {
                if let Ok(html) = shown.live()
                    && html != self.shown
                {
                    event(&mut text, None, &html);
                    self.shown = html;
                }
                String::new()
            }
            Err(problem) => problem.detail,
        };
        if fault != self.fault {
            json_event(&mut text, "fault", &fault);
            self.fault = fault;
        }
        match self.page.feed() {
            Some(Feed::Series(window)) => self.series(window, &mut text),
            Some(Feed::Log(window)) => {
                let path = format!("/windows/{window}/log");
                if let Ok(log) = self.api.get::<LogLines>(&path).await {
                    self.log.take(log.lines, &mut text);
                }
            }
            None => {}
        }
        text
    }

    fn series(&mut self, window: Option<String>, text: &mut String) {
        let points = self.dashboard.series.points(window.as_deref(), self.after);
        if points.is_empty() && self.begun {
            return;
        }
        self.after = points.last().map_or(self.after, |point| point.at);
        // The first has all that there are, and replaces what the page has.
        let first = !std::mem::replace(&mut self.begun, true);
        json_event(text, "series", &Points { first, points });
    }
}

#[derive(Serialize)]
struct Points {
    first: bool,
    points: Vec<Point>,
}

/// Which lines of a log were sent.
#[derive(Default)]
struct Tail {
    begun: bool,
    last: Vec<LogLine>,
}

#[derive(Serialize)]
struct Lines<'a> {
    first: bool,
    lines: &'a [LogLine],
}

impl Tail {
    /// The log keeps its last lines only: what follows those that were sent is new.
    fn take(&mut self, lines: Vec<LogLine>, text: &mut String) {
        let first = !std::mem::replace(&mut self.begun, true);
        let new = match first {
            true => lines.as_slice(),
            false => new_lines(&self.last, &lines),
        };
        if first || !new.is_empty() {
            json_event(text, "log", &Lines { first, lines: new });
        }
        self.last = lines;
    }
}

/// The lines of `now` that are not in `before`, of which the oldest may be gone by now.
fn new_lines<'a>(before: &[LogLine], now: &'a [LogLine]) -> &'a [LogLine] {
    for gone in 0..before.len() {
        let kept = before.get(gone..).unwrap_or_default();
        if now.starts_with(kept) {
            return now.get(kept.len()..).unwrap_or_default();
        }
    }
    now
}

fn json_event(text: &mut String, name: &str, value: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(value) {
        event(text, Some(name), &json);
    }
}

/// Each line of the data is a field of its own, so that no data can end an event.
fn event(text: &mut String, name: Option<&str>, data: &str) {
    if let Some(name) = name {
        let _ = writeln!(text, "event: {name}");
    }
    for line in data.split(['\n', '\r']) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        let line = |text: &&str| LogLine {
            at: OffsetDateTime::UNIX_EPOCH,
            level: None,
            text: (*text).to_owned(),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn each_line_of_a_log_is_sent_once() {
        for (before, now, new) in [
            (&["a", "b"][..], &["a", "b", "c"][..], &["c"][..]),
            (&["a", "b"], &["b", "c", "d"], &["c", "d"]),
            (&["a", "b"], &["c"], &["c"]),
            (&["a", "a"], &["a", "a", "a"], &["a"]),
            (&["a"], &["a"], &[]),
            (&[], &["a"], &["a"]),
        ] {
            assert_eq!(
                new_lines(&lines(before), &lines(now)),
                lines(new),
                "{now:?}"
            );
        }
    }

    #[test]
    fn data_with_line_ends_stays_one_event() {
        let mut text = String::new();
        event(&mut text, Some("log"), "a\nevent: forged\r\n\nb");
        let first = text.lines().next();
        assert_eq!(first, Some("event: log"));
        let mut rest = text.trim_end().lines().skip(1);
        assert!(rest.all(|line| line.starts_with("data: ")), "{text}");
    }
}
