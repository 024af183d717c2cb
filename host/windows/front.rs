//! What a request finds at a window, and what goes when something else is put there.

use super::release::Release;
use super::share::Share;
use super::trial::{Side, Trial};
use http::HeaderMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What is at a window.
pub(super) enum Front {
    Empty,
    Stopped,
    Open {
        live: Arc<Release>,
        canary: Option<Canary>,
    },
}

/// A candidate beside the live release.
#[derive(Clone)]
pub(super) struct Canary {
    pub release: Arc<Release>,
    pub share: Share,
    pub trial: Arc<Trial>,
    /// Takes the reason when the candidate is clearly worse. One place: the first reason is enough.
    pub verdict: mpsc::Sender<String>,
}

/// The side of a trial that a request is on.
#[derive(Clone)]
pub(super) struct Entrant {
    pub trial: Arc<Trial>,
    pub side: Side,
    pub verdict: mpsc::Sender<String>,
}

impl Front {
    /// The releases that get requests.
    pub fn releases(&self) -> impl Iterator<Item = &Arc<Release>> {
        let (live, canary) = match self {
            Front::Open { live, canary } => {
                (Some(live), canary.as_ref().map(|canary| &canary.release))
            }
            _ => (None, None),
        };
        live.into_iter().chain(canary)
    }
}

impl Canary {
    /// Which of the two gets a request with these headers.
    pub fn choose<'a>(
        &'a self,
        live: &'a Arc<Release>,
        headers: &HeaderMap,
    ) -> (&'a Arc<Release>, Entrant) {
        let candidate = self
            .share
            .takes(self.release.record.number, caller(headers));
        let (release, side) = match candidate {
            true => (&self.release, Side::Candidate),
            false => (live, Side::Live),
        };
        let entrant = Entrant {
            trial: self.trial.clone(),
            side,
            verdict: self.verdict.clone(),
        };
        (release, entrant)
    }
}

/// Who asks: the user, or the address where there is none. The gateway sets both, so neither can be chosen by the client.
fn caller(headers: &HeaderMap) -> &[u8] {
    ["x-hms-user", "x-forwarded-for"]
        .iter()
        .find_map(|name| headers.get(*name))
        .map_or(&[], |value| value.as_bytes())
}
