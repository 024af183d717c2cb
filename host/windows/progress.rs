//! The steps of a deploy as they are done: told to whoever watches, and held to the states of a release.

use super::state::{Event, State};
use super::{ChangeError, Difference, WindowName, crash};
use serde::Serialize;
use std::time::Instant;

/// A step of a deploy, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Check,
    Compile,
    Try,
    Record,
    Swap,
}

/// What is told while a deploy goes on.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum DeployEvent {
    /// A step is done.
    Step {
        step: Step,
        /// How long it took, in milliseconds.
        ms: f64,
    },
    /// It waits for something of which there is only so much.
    Waiting {
        waiting: &'static str,
        /// How many were asked for before.
        ahead: usize,
    },
    /// How the new release differs from the live one.
    Difference { difference: Box<Difference> },
}

/// The progress of one deploy.
pub(super) struct Progress<'a> {
    state: State,
    since: Instant,
    steps: Vec<(Step, f64)>,
    notify: &'a (dyn Fn(DeployEvent) + Send + Sync),
}

impl<'a> Progress<'a> {
    pub fn new(notify: &'a (dyn Fn(DeployEvent) + Send + Sync)) -> Self {
        Progress {
            state: State::Received,
            since: Instant::now(),
            steps: Vec::new(),
            notify,
        }
    }

    /// Where the release stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// A step is done.
    pub fn done(&mut self, step: Step) -> Result<(), ChangeError> {
        let event = match step {
            Step::Check => Some(Event::Check),
            Step::Compile => Some(Event::Compile),
            Step::Try => Some(Event::Try),
            Step::Record => Some(Event::Record),
            // The release itself notes it, with the share of a canary in its place.
            Step::Swap => None,
        };
        if let Some(event) = event {
            let next = self.state.next(event);
            self.state = next.map_err(|illegal| ChangeError::Internal(illegal.to_string()))?;
        }
        let ms = self.since.elapsed().as_secs_f64() * 1000.0;
        self.since = Instant::now();
        self.steps.push((step, ms));
        (self.notify)(DeployEvent::Step { step, ms });
        crash::point(&format!("{step:?}"));
        Ok(())
    }

    /// It waits for a compiler, after so many others.
    pub fn waits_for_compiler(&self, ahead: usize) {
        (self.notify)(DeployEvent::Waiting {
            waiting: "compiler",
            ahead,
        });
    }

    /// The release was found wanting, for this reason.
    pub fn refuse(&mut self, window: &WindowName, why: &ChangeError) {
        if let Ok(refused) = self.state.next(Event::Refuse) {
            tracing::warn!(%window, after = ?self.state, "a release was refused: {why}");
            self.state = refused;
        }
    }

    pub fn differs(&self, difference: &Difference) {
        let difference = Box::new(difference.clone());
        (self.notify)(DeployEvent::Difference { difference });
    }

    pub fn into_steps(self) -> Vec<(Step, f64)> {
        self.steps
    }
}
