//! The last records, for operators: found by their request ids.

use super::shown::{self, Detail};
use hms_api::RequestTrace;
use hms_core::trace::{SpanLog, TraceId, What};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Records that are kept whatever came of them. 500: a few minutes of a quiet host, and 2 MiB.
const LAST: usize = 500;

/// Of ordinary requests and deliveries so many a second are kept, be it at once. 1,000: nobody
/// reads more, and the records that a busy host does not keep stay in the processor's cache, from
/// one request to the next.
const A_SECOND: u64 = 1000;

/// Failed ones and slow ones that are kept beside those, of each kind. 100: the bad minute is still
/// there when somebody looks.
const NOTABLE: usize = 100;

/// The last records: all, or of a busy host a part of them; and failed and slow ones for longer.
#[derive(Debug)]
pub struct Recent {
    pace: Pace,
    all: Ring,
    failed: Ring,
    slow: Ring,
}

/// Which records to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only failed ones.
    pub failed: bool,
    /// Only slow ones. With `failed`: those that are one of both.
    pub slow: bool,
    /// Only those for this window.
    pub window: Option<String>,
    /// Only those of this trace.
    pub trace_id: Option<u128>,
    /// At most so many; none: all that are kept.
    pub limit: Option<usize>,
}

impl Default for Recent {
    fn default() -> Self {
        Recent {
            pace: Pace::default(),
            all: Ring::of(LAST),
            failed: Ring::of(NOTABLE),
            slow: Ring::of(NOTABLE),
        }
    }
}

impl Recent {
    /// Keeps a record that is over, or gives it back. Gives one that is no longer kept among all of
    /// them.
    pub(super) fn push(&self, log: Arc<SpanLog>) -> Option<Arc<SpanLog>> {
        let finished = log.finished();
        let failed = finished.is_some_and(|it| it.outline.is_failed());
        let slow = finished.is_some_and(|it| it.slow);
        if failed {
            self.failed.push(log.clone());
        }
        if slow {
            self.slow.push(log.clone());
        }
        let deploy = finished.is_some_and(|it| it.outline.what == What::Deploy);
        let duration = finished.map(|it| it.duration).unwrap_or_default();
        match failed || slow || deploy || self.pace.allows(log.started() + duration) {
            true => self.all.push(log),
            false => Some(log),
        }
    }

    /// The records that `filter` asks for, the latest first, without their spans.
    pub fn list(&self, filter: &Filter) -> Vec<RequestTrace> {
        let rings: &[&Ring] = match (filter.failed, filter.slow) {
            (false, false) => &[&self.all, &self.failed, &self.slow],
            (true, false) => &[&self.failed],
            (false, true) => &[&self.slow],
            (true, true) => &[&self.failed, &self.slow],
        };
        let mut found: Vec<Arc<SpanLog>> = rings.iter().flat_map(|ring| ring.all()).collect();
        if let Some(window) = &filter.window {
            found.retain(|log| shown::window(log) == Some(window));
        }
        if let Some(trace_id) = filter.trace_id {
            found.retain(|log| log.start().context.trace_id == trace_id);
        }
        found.sort_unstable_by_key(|log| (std::cmp::Reverse(log.started()), Arc::as_ptr(log)));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let most = filter.limit.unwrap_or(usize::MAX);
        let shown = found
            .iter()
            .filter_map(|log| shown::shown(log, Detail::Outline));
        shown.take(most).collect()
    }

    /// The last record with this request id, with its spans. If there is none, and it is the id of
    /// a trace, the first of that trace: the request that its deliveries of events are for.
    pub fn get(&self, id: &str) -> Option<RequestTrace> {
        let kept = || {
            let rings = [&self.all, &self.failed, &self.slow];
            rings.into_iter().flat_map(Ring::all)
        };
        let is_it = |log: &Arc<SpanLog>| {
            let finished = log.finished();
            finished.is_some_and(|it| it.outline.request_id == id)
        };
        let last = kept().filter(is_it).max_by_key(|log| log.started());
        let found = last.or_else(|| {
            let trace_id = TraceId::parse(id)?.0;
            let of_trace = kept().filter(|log| log.start().context.trace_id == trace_id);
            of_trace.min_by_key(|log| log.started())
        })?;
        shown::shown(&found, Detail::Spans)
    }
}

/// Which ordinary records are kept: [`A_SECOND`], by the generic cell rate algorithm (ITU-T I.371).
/// Of two that come at the same moment both may be kept.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// When the last one that is kept would have been due, in nanoseconds.
    due: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            since: Instant::now(),
            due: AtomicU64::new(0),
        }
    }
}

impl Pace {
    /// Nanoseconds between two.
    const EACH: u64 = 1_000_000_000 / A_SECOND;

    fn allows(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.since).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let due = self.due.load(Relaxed);
        let ahead = due.saturating_sub(now);
        let allowed = ahead < Self::EACH.saturating_mul(A_SECOND);
        if allowed {
            let next = due.max(now).saturating_add(Self::EACH);
            self.due.store(next, Relaxed);
        }
        allowed
    }
}

/// The last records of one kind. Each place has a lock of its own, which is held for a moment: one
/// who puts something in meets another only if that one is a whole turn behind.
#[derive(Debug)]
struct Ring {
    places: Box<[Mutex<Option<Arc<SpanLog>>>]>,
    next: AtomicUsize,
}

impl Ring {
    fn of(places: usize) -> Self {
        Ring {
            places: (0..places).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Gives what was in its place.
    fn push(&self, log: Arc<SpanLog>) -> Option<Arc<SpanLog>> {
        let at = self.next.fetch_add(1, Relaxed) % self.places.len().max(1);
        self.places.get(at)?.lock().replace(log)
    }

    fn all(&self) -> Vec<Arc<SpanLog>> {
        let places = self.places.iter();
        places.filter_map(|place| place.lock().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tracer;
    use super::*;
    use crate::trace::Sampler;
    use hms_core::trace::{Outline, SpanKind, Spans};
    use http::Method;
    use std::time::Duration;

    fn outline(id: &str, status: u16) -> Outline {
        Outline {
            what: What::Request,
            request_id: id.into(),
            method: Method::GET,
            scheme: "http",
            route: Some("payments".into()),
            path: "/api/v1/payments".into(),
            upstream: Some(if id.starts_with('d') { "docs" } else { "pay" }.into()),
            window: true,
            release: Some(1),
            status,
            error: (status >= 500).then_some("instance-trapped"),
            head: Some(Duration::from_millis(if id.starts_with("slow") {
                2000
            } else {
                1
            })),
        }
    }

    fn ask(tracer: &Tracer, id: &str, status: u16) {
        let log = tracer.begin(None);
        drop(Spans::of(log.clone()).begin(SpanKind::Guest));
        tracer.finish(log, outline(id, status));
    }

    fn ids(tracer: &Tracer, filter: &Filter) -> Vec<String> {
        let listed = tracer.recent().list(filter).into_iter();
        listed.map(|request| request.request_id).collect()
    }

    #[test]
    fn failed_and_slow_requests_stay_when_the_last_ones_have_gone_by() {
        let tracer = Tracer::default();
        ask(&tracer, "failed", 502);
        ask(&tracer, "slow", 200);
        ask(&tracer, "usual", 200);
        for n in 0..LAST {
            ask(&tracer, &format!("d{n}"), 404);
        }
        let failed = Filter {
            failed: true,
            ..Filter::default()
        };
        let slow = Filter {
            slow: true,
            ..Filter::default()
        };
        assert_eq!(ids(&tracer, &failed), ["failed"]);
        assert_eq!(ids(&tracer, &slow), ["slow"]);
        assert_eq!(ids(&tracer, &Filter::default()).len(), LAST + 2);
        let of_window = Filter {
            window: Some("docs".into()),
            limit: Some(2),
            ..Filter::default()
        };
        assert_eq!(ids(&tracer, &of_window), ["d499", "d498"]);
        let found = tracer.recent().get("failed").unwrap();
        assert!(found.failed && !found.slow && found.spans.len() == 1);
        assert_eq!(found.error.as_deref(), Some("instance-trapped"));
        assert_eq!(found.spans[0].parent_id, found.span_id);
        assert!(tracer.recent().get("usual").is_none());
    }

    #[test]
    fn busy_host_keeps_a_part_of_its_ordinary_requests() {
        let pace = Pace::default();
        let at = |ms| pace.since + Duration::from_millis(ms);
        // A burst, of which all are kept.
        assert!((0..A_SECOND).all(|_| pace.allows(at(0))));
        assert!(!pace.allows(at(0)));
        // Then one each millisecond, of ten that come.
        let kept = |ms| (0..10).filter(|_| pace.allows(at(ms))).count();
        assert!((1..2000).all(|ms| kept(ms) == 1));
        // And after a while without any, a burst again.
        assert!((0..A_SECOND).all(|_| pace.allows(at(20_000))));
        assert!(!pace.allows(at(20_000)));
    }

    #[test]
    fn failed_request_and_deploy_of_a_busy_host_are_kept() {
        let tracer = Tracer::default();
        for n in 0..2 * A_SECOND {
            ask(&tracer, &n.to_string(), 200);
        }
        ask(&tracer, "failed", 500);
        let deploy = Outline {
            what: What::Deploy,
            status: 0,
            ..outline("deploy", 0)
        };
        tracer.finish(tracer.begin(None), deploy);
        let kept = ids(&tracer, &Filter::default());
        assert_eq!(kept[..2], ["deploy", "failed"]);
    }

    /// The cell rate algorithm as the standard has it, with numbers that do not overflow.
    fn reference(due: &mut i128, now: i128) -> bool {
        let each = i128::from(Pace::EACH);
        let allowed = *due - now < each * i128::from(A_SECOND);
        if allowed {
            *due = (*due).max(now) + each;
        }
        allowed
    }

    #[test]
    fn pace_is_that_of_the_algorithm_at_any_rate() {
        for apart_ns in [0, 1, 999, 10_000, 999_999, 1_000_000, 1_000_001, 7_000_000] {
            let (pace, mut due) = (Pace::default(), 0);
            for n in 0..5 * A_SECOND {
                let now = n * apart_ns;
                let allowed = pace.allows(pace.since + Duration::from_nanos(now));
                assert_eq!(
                    allowed,
                    reference(&mut due, now.into()),
                    "{n} at {apart_ns}"
                );
            }
        }
    }

    #[test]
    fn trace_is_found_by_its_id_from_its_first_record_on() {
        let tracer = Tracer::default();
        let first = tracer.begin(None);
        let context = first.start().context;
        let trace_id = TraceId(context.trace_id);
        let below = Some(crate::trace::Inbound {
            context,
            trusted: true,
        });
        tracer.finish(first, outline("first", 200));
        tracer.finish(tracer.begin(below), outline("delivered", 200));
        ask(&tracer, "another", 200);
        let found = tracer.recent().get(&trace_id.to_string()).unwrap();
        assert_eq!(found.request_id, "first");
        let of_trace = Filter {
            trace_id: Some(trace_id.0),
            ..Filter::default()
        };
        assert_eq!(ids(&tracer, &of_trace), ["delivered", "first"]);
        for other in ["", "first ", &"0".repeat(32), &"f".repeat(32)] {
            assert!(tracer.recent().get(other).is_none(), "{other}");
        }
    }

    #[test]
    fn records_are_used_again() {
        let tracer = Tracer::new(Sampler::off(), super::super::SLOW_FROM);
        for n in 0..LAST {
            ask(&tracer, &n.to_string(), 200);
        }
        let first = Arc::as_ptr(&tracer.recent.all.all()[0]);
        ask(&tracer, "one more", 200);
        let log = tracer.begin(None);
        assert_eq!(Arc::as_ptr(&log), first);
        assert_eq!(log.spans().count(), 0);
    }
}
