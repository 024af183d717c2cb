//! The handles by which a record is written.
//!
//! [`Spans`] is the handle that travels with the work: it knows the record and the span above.
//! [`Span`] is one part of the work, from its creation until it is ended or dropped. All of them
//! may be used from several threads at once, and end after the record is [`Finished`]: a guest may
//! work on once its answer is out.
//!
//! [`Finished`]: super::Finished

use super::context::TraceContext;
use super::details::SpanDetails;
use super::kind::SpanKind;
use super::record::{SpanLog, SpanSlot, Used};
use http::Response;
use std::sync::Arc;
use std::time::Instant;

/// Where spans are noted: a record, and the span above them. The default notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    log: Option<Arc<SpanLog>>,
    /// The place of the span above, and 1; 0: the whole.
    above: u8,
}

impl Spans {
    /// Directly below the whole.
    pub fn of(log: Arc<SpanLog>) -> Self {
        Spans {
            log: Some(log),
            above: 0,
        }
    }

    /// Begins a span.
    pub fn begin(&self, kind: SpanKind) -> Span {
        self.begin_at(kind, Instant::now())
    }

    /// Begins a span at a time that has been read.
    pub fn begin_at(&self, kind: SpanKind, at: Instant) -> Span {
        let parent = self.above.checked_sub(1);
        let taken = self.log.as_ref().and_then(|log| {
            let index = log.begin(kind, parent, at)?;
            Some((log.clone(), index))
        });
        // Where there is no place, what is below it is noted with its parent.
        let (spans, taken) = match taken {
            Some((log, index)) => (
                Spans {
                    log: Some(log),
                    above: index + 1,
                },
                true,
            ),
            None => (self.clone(), false),
        };
        Span { spans, taken }
    }

    /// Where they are in the trace, for whoever is asked on behalf of the span above.
    pub fn context(&self) -> Option<TraceContext> {
        let log = self.log.as_deref()?;
        let context = log.start().context;
        Some(match self.above.checked_sub(1) {
            None => context,
            Some(index) => TraceContext {
                span_id: log.id_of(usize::from(index)),
                ..context
            },
        })
    }

    /// Whether both note in the same record.
    pub fn is_beside(&self, other: &Spans) -> bool {
        let logs = self.log.as_ref().zip(other.log.as_ref());
        logs.is_some_and(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// The record.
    pub fn log(&self) -> Option<&Arc<SpanLog>> {
        self.log.as_ref()
    }
}

/// A part of the work. Ends when it is dropped, if it has not before.
#[derive(Debug)]
pub struct Span {
    /// Below this span.
    spans: Spans,
    taken: bool,
}

impl Span {
    /// Where to note what is done for this part.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Whether it is noted: there is a record, and it has room.
    pub fn is_noted(&self) -> bool {
        self.taken
    }

    /// Says whom it is about.
    pub fn about(&self, detail: impl FnOnce() -> Arc<str>) {
        if let Some(slot) = self.slot() {
            slot.about(detail);
        }
    }

    /// It was answered with this status.
    pub fn answered(&self, status: u16) {
        if let Some(slot) = self.slot() {
            slot.answered(status);
        }
    }

    /// It failed.
    pub fn fail(&self) {
        if let Some(slot) = self.slot() {
            slot.fail();
        }
    }

    /// A guest has used so much for it.
    pub fn used(&self, used: Used) {
        if let Some(slot) = self.slot() {
            slot.used(used);
        }
    }

    /// It is below the span that notes in `above`, if that is of the same record and began before:
    /// so there is no circle.
    pub fn move_below(&self, above: &Spans) {
        if let Some(slot) = self.slot()
            && self.spans.is_beside(above)
            && above.above < self.spans.above
        {
            slot.move_below(above.above.checked_sub(1));
        }
    }

    /// Whether its record has room for so many bytes of what a guest tells, which is then taken.
    pub fn takes(&self, bytes: usize) -> bool {
        let log = self.spans.log.as_deref().filter(|_| self.taken);
        log.is_some_and(|log| log.details().takes(bytes))
    }

    /// A guest says this of it. The first one counts.
    pub fn describe(&self, details: SpanDetails) {
        let log = self.spans.log.as_deref().filter(|_| self.taken);
        if let (Some(log), Some(index)) = (log, self.spans.above.checked_sub(1)) {
            log.details().describe(index, details);
        }
    }

    /// It ends now. The first end counts.
    pub fn end(&self) {
        self.end_by(Instant::now);
    }

    /// It ends at a time that has been read. The first end counts.
    pub fn end_at(&self, at: Instant) {
        self.end_by(|| at);
    }

    fn end_by(&self, at: impl FnOnce() -> Instant) {
        if let (Some(slot), Some(log)) = (self.slot(), self.spans.log.as_deref()) {
            slot.end(log, at);
        }
    }

    /// It failed if `outcome` is a failure; else it was answered with that status.
    pub fn note<B, E>(&self, outcome: &Result<Response<B>, E>) {
        match outcome {
            Ok(response) => self.answered(response.status().as_u16()),
            Err(_) => self.fail(),
        }
    }

    /// Ends, as a failure if `outcome` is one.
    pub fn ended<T, E>(self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    fn slot(&self) -> Option<&SpanSlot> {
        let log = self.spans.log.as_deref().filter(|_| self.taken)?;
        log.slot(self.spans.above.checked_sub(1)?)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::details::Attribute;
    use super::super::record::{MAX_SPANS, MAX_TEXT, Outline, Start, What};
    use super::*;
    use http::Method;
    use std::time::Duration;

    fn outline() -> Outline {
        Outline {
            what: What::Request,
            request_id: "abc".into(),
            method: Method::GET,
            scheme: "http",
            route: None,
            path: "/".into(),
            upstream: None,
            window: false,
            release: None,
            status: 200,
            error: None,
            head: None,
        }
    }

    #[test]
    fn spans_are_a_tree_with_times_and_ids_of_their_own() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let guest = spans.begin(SpanKind::Guest);
        let call = guest.spans().begin(SpanKind::Call);
        call.about(|| "https://a.example".into());
        call.answered(502);
        let sent = call.spans().context().unwrap();
        call.fail();
        drop(call);
        let recorded: Vec<_> = log.spans().collect();
        assert_eq!(recorded[0].kind.name(), "guest");
        assert_eq!((recorded[0].parent, recorded[0].ended), (None, None));
        assert_eq!(recorded[1].parent, Some(0));
        assert_eq!(recorded[1].detail.as_deref(), Some("https://a.example"));
        assert_eq!((recorded[0].status, recorded[1].status), (None, Some(502)));
        assert!(recorded[1].failed && recorded[1].ended >= Some(recorded[1].begun));
        assert_eq!(recorded[1].span_id, sent.span_id);
        assert_eq!(sent.trace_id, log.start().context.trace_id);
        let ids = [
            recorded[0].span_id,
            recorded[1].span_id,
            log.start().context.span_id,
        ];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn spans_beyond_the_bound_are_counted_and_theirs_go_to_the_span_above() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let above = spans.begin(SpanKind::Guest);
        for _ in 0..MAX_SPANS + 4 {
            let commit = above.spans().begin(SpanKind::StoreCommit);
            assert!(commit.spans().context().is_some());
        }
        assert_eq!((log.spans().count(), log.left_out()), (MAX_SPANS, 5));
        drop(above);
        let guest = log.spans().next().unwrap();
        assert!(guest.ended.is_some() && !guest.failed);
    }

    #[test]
    fn span_is_moved_below_an_earlier_one_of_its_record_and_below_no_other() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let [first, second, third] = [(); 3].map(|()| spans.begin(SpanKind::Own));
        let parents = || -> Vec<_> { log.spans().map(|span| span.parent).collect() };
        third.move_below(first.spans());
        second.move_below(third.spans());
        second.move_below(second.spans());
        let other = Arc::new(SpanLog::new(Start::new(true)));
        third.move_below(&Spans::of(other));
        third.fail();
        assert_eq!(parents(), [None, None, Some(0)]);
        third.move_below(&spans);
        assert_eq!(parents(), [None, None, None]);
        let moved = log.spans().nth(2).unwrap();
        assert!(moved.failed && moved.kind == SpanKind::Own);
    }

    #[test]
    fn guest_attributes_are_kept_with_their_span_and_bounded_for_the_record() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let spans = Spans::of(log.clone());
        let [first, second] = [(); 2].map(|()| spans.begin(SpanKind::Own));
        let details = SpanDetails {
            attributes: vec![("a".into(), Attribute::Int(1))],
            ..SpanDetails::default()
        };
        second.describe(details.clone());
        second.describe(SpanDetails::default());
        let recorded: Vec<_> = log.spans().map(|span| span.details).collect();
        assert_eq!(recorded[0], None);
        assert_eq!(recorded[1].as_deref(), Some(&details));
        assert!(first.takes(9 << 10) && !second.takes(9 << 10) && second.takes(7 << 10));
        assert!(!first.takes(usize::MAX) && !Spans::default().begin(SpanKind::Own).takes(1));
    }

    #[test]
    fn restarted_record_has_nothing_of_the_one_before() {
        let mut log = Arc::new(SpanLog::new(Start::new(true)));
        let span = Spans::of(log.clone()).begin(SpanKind::Call);
        span.about(|| "https://a.example".into());
        span.fail();
        span.describe(SpanDetails::default());
        assert!(span.takes(16 << 10));
        span.used(Used {
            cpu: Duration::from_millis(1),
            memory_bytes: 1,
        });
        drop(span);
        log.finish(outline(), Duration::ZERO, Duration::from_secs(1));
        let start = Start::new(false);
        Arc::get_mut(&mut log).unwrap().restart(start);
        assert_eq!((log.spans().count(), log.left_out()), (0, 0));
        assert!(log.finished().is_none());
        assert_eq!(*log.start(), start);
        assert!(Spans::of(log.clone()).begin(SpanKind::Guest).takes(1));
        let recorded: Vec<_> = log.spans().collect();
        assert!(recorded[0].detail.is_none() && !recorded[0].failed);
        assert_eq!((recorded[0].used, &recorded[0].details), (None, &None));
    }

    #[test]
    fn usage_of_a_guest_is_kept_to_the_millisecond_and_the_kib() {
        let log = Arc::new(SpanLog::new(Start::new(true)));
        let guest = Spans::of(log.clone()).begin(SpanKind::Guest);
        let used = |cpu_us, memory_bytes| {
            guest.used(Used {
                cpu: Duration::from_micros(cpu_us),
                memory_bytes,
            });
            let used = log.spans().next().unwrap().used.unwrap();
            (used.cpu.as_millis(), used.memory_bytes)
        };
        assert_eq!(used(0, 0), (0, 0));
        assert_eq!(used(12_345, 3 << 20), (12, 3 << 20));
        assert_eq!(used(999, 1), (0, 1024));
        let (cpu, memory) = used(u64::MAX, u64::MAX);
        assert_eq!(
            (cpu, memory),
            (u128::from(u32::MAX) - 1, u64::from(u32::MAX) * 1024)
        );
    }

    #[test]
    fn long_texts_of_a_record_are_cut() {
        let log = SpanLog::new(Start::new(true));
        let path = format!("/{}", "é".repeat(4000));
        let method = Method::from_bytes("A".repeat(60_000).as_bytes()).unwrap();
        let outline = Outline {
            path,
            method,
            ..outline()
        };
        let log = Arc::new(log);
        let call = Spans::of(log.clone()).begin(SpanKind::Upstream);
        call.about(|| "A".repeat(60_000).into());
        let finished = log.finish(outline, Duration::ZERO, Duration::from_secs(1));
        assert_eq!(finished.outline.path.len(), MAX_TEXT - 1);
        assert_eq!(finished.outline.method.as_str().len(), MAX_TEXT);
        let detail = log.spans().next().unwrap().detail.unwrap();
        assert_eq!(detail.len(), MAX_TEXT);
    }

    #[test]
    fn span_without_a_record_notes_nothing() {
        let span = Spans::default().begin(SpanKind::Guest);
        span.fail();
        assert!(span.spans().context().is_none() && !span.is_noted());
        assert!(!span.spans().is_beside(&Spans::default()));
    }
}
