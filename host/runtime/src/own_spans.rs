//! The spans of a guest's own at one instance: those that it ends by a number, and those to which
//! it gives ids of its own.

use super::in_flight::InFlight;
use hms_core::trace::{MAX_SPANS, Span, SpanKind, Spans};
use std::sync::Arc;

/// Bounded by [`MAX_SPANS`]: only what is noted in a record is here.
#[derive(Default)]
pub(super) struct OwnSpans {
    /// Those that have not ended, each with its number.
    open: Vec<(u32, Span)>,
    /// The number of the last one.
    last: u32,
    /// Those with ids, also those that have ended: others may be below them.
    given: Vec<Given>,
}

/// A span with an id of the guest's.
struct Given {
    id: u64,
    number: u32,
    /// Below it.
    spans: Spans,
    /// Below the guest's work, of which it is a part.
    guest: Spans,
}

/// The type of a name that is not known yet.
type NoName = fn() -> Arc<str>;

impl OwnSpans {
    /// Below the last one that has not ended, in the record of `beside`.
    pub(super) fn innermost(&self, beside: &Spans) -> Option<&Spans> {
        let mut open = self.open.iter().rev().map(|(_, span)| span.spans());
        open.find(|own| own.is_beside(beside))
    }

    /// One begins in `spans`. Its number; none where it is not noted.
    pub(super) fn begin(
        &mut self,
        spans: &Spans,
        name: Option<impl FnOnce() -> Arc<str>>,
    ) -> Option<u32> {
        let span = spans.begin(SpanKind::Own);
        if !span.is_noted() || self.open.len() >= MAX_SPANS {
            return None;
        }
        if let Some(name) = name {
            span.about(name);
        }
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.open.push((self.last, span));
        Some(self.last)
    }

    /// The one with that number, which ends when it is dropped.
    pub(super) fn end(&mut self, number: u32) -> Option<Span> {
        let at = self.open.iter().position(|(known, _)| *known == number)?;
        Some(self.open.remove(at).1)
    }

    /// One with an id of the guest's begins in `spans`, as a part of the work of `guest`. One whose
    /// id is there already is nothing.
    pub(super) fn begin_given(&mut self, spans: &Spans, guest: Spans, id: u64) {
        if self.given.len() >= MAX_SPANS || self.given(id).is_some() {
            return;
        }
        let number = self.begin(spans, None::<NoName>);
        let open = self.open.last().map(|(_, span)| span.spans().clone());
        if let Some((number, spans)) = number.zip(open) {
            self.given.push(Given {
                id,
                number,
                spans,
                guest,
            });
        }
    }

    /// The one with that id, which ends when it is dropped: moved below that with the id `above`,
    /// or else to where its guest's work is.
    pub(super) fn end_given(&mut self, id: u64, above: Option<u64>) -> Option<Span> {
        let ended = self.given.iter().find(|given| given.id == id)?;
        let (number, guest) = (ended.number, ended.guest.clone());
        let above = above.and_then(|above| self.given(above)).cloned();
        let span = self.end(number)?;
        span.move_below(&guest);
        span.move_below(&above.unwrap_or(guest));
        Some(span)
    }

    /// Below the span with that id.
    pub(super) fn given(&self, id: u64) -> Option<&Spans> {
        let mut all = self.given.iter();
        all.find(|given| given.id == id).map(|given| &given.spans)
    }

    /// Takes those that were for these requests.
    pub(super) fn take_of(&mut self, done: &[Arc<InFlight>]) -> OwnSpans {
        let is_done = |spans: &Spans| done.iter().any(|done| spans.is_beside(done.spans()));
        let open = self.open.extract_if(.., |(_, span)| is_done(span.spans()));
        let given = self.given.extract_if(.., |given| is_done(&given.spans));
        OwnSpans {
            open: open.collect(),
            last: self.last,
            given: given.collect(),
        }
    }
}
