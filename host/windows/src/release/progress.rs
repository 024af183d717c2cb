//! The completed steps of a deploy, reported to whoever watches.

use crate::{ChangeError, WindowName};
use hms_api::{DeployEvent, Difference, Step, Word};
use hms_disk::crash;
use std::time::Instant;

/// The progress of one deploy.
pub(crate) struct Progress<'a> {
    since: Instant,
    steps: Vec<(Step, f64)>,
    notify: &'a (dyn Fn(DeployEvent) + Send + Sync),
}

impl<'a> Progress<'a> {
    pub(crate) fn new(notify: &'a (dyn Fn(DeployEvent) + Send + Sync)) -> Self {
        Progress {
            since: Instant::now(),
            steps: Vec::new(),
            notify,
        }
    }

    /// A step is done.
    pub(crate) fn done(&mut self, step: Step) {
        let ms = self.since.elapsed().as_secs_f64() * 1000.0;
        self.since = Instant::now();
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
