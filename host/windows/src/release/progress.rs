//! The completed steps of a deploy, reported to whoever watches.

use crate::{ChangeError, WindowName};
use hms_api::{DeployEvent, Difference, Step, Word};
use hms_core::trace::{Span, SpanKind, Spans};
use hms_disk::crash;
use std::time::Instant;

/// The progress of one deploy.
pub(crate) struct Progress<'a> {
    since: Instant,
    steps: Vec<(Step, f64)>,
    notify: &'a (dyn Fn(DeployEvent) + Send + Sync),
    /// The trace of the deploy, and the step that it is at.
    spans: Spans,
    at: Option<Span>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(notify: &'a (dyn Fn(DeployEvent) + Send + Sync), spans: Spans) -> Self {
        Progress {
            since: Instant::now(),
            steps: Vec::new(),
            notify,
            at: Some(spans.begin(SpanKind::Check)),
            spans,
        }
    }

    /// Steps that are done.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// A step is done.
    pub(crate) fn done(&mut self, step: Step) {
        let ms = self.since.elapsed().as_secs_f64() * 1000.0;
        self.since = Instant::now();
        // The one before ends first.
        self.at = None;
        self.at = after(&step).map(|kind| self.spans.begin(kind));
        self.steps.push((step.clone(), ms));
        let point = format!("{step:?}");
        (self.notify)(DeployEvent::Step { step, ms });
        crash::point(&point);
    }

    /// It waits for a compiler, behind so many others.
    pub(crate) fn waits_for_compiler(&self, ahead: usize) {
        (self.notify)(DeployEvent::Waiting {
            waiting: Word::from("compiler"),
            ahead,
        });
    }

    /// The release was rejected for this reason.
    pub(crate) fn refuse(&self, window: &WindowName, why: &ChangeError) {
        if let Some(at) = &self.at {
            at.fail();
            at.end();
        }
        let after = self.steps.last().map(|(step, _)| step);
        tracing::warn!(%window, ?after, "a release was refused: {why}");
    }

    pub(crate) fn differs(&self, difference: &Difference) {
        let difference = Box::new(difference.clone());
        (self.notify)(DeployEvent::Difference { difference });
    }

    pub(crate) fn into_steps(self) -> Vec<(Step, f64)> {
        self.steps
    }
}

/// The step that follows.
fn after(step: &Step) -> Option<SpanKind> {
    match step {
        Step::Check => Some(SpanKind::Compile),
        Step::Compile => Some(SpanKind::Trial),
        Step::Try => Some(SpanKind::Record),
        Step::Record => Some(SpanKind::Swap),
        Step::Swap | Step::Other(_) => None,
    }
}
