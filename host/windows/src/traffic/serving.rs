//! What a request finds at a window, and what is replaced by a switch.

use crate::canary::analysis::{Analysis, Entry, Sample, Side};
use crate::record::CanaryRecord;
use crate::release::Release;
use crate::traffic::share::Caller;
use hms_core::call::WindowCall;
use hms_core::headers::{REQUEST_ID, USER};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What serves at a window.
pub(crate) enum Serving {
    Empty,
    Stopped,
    Open {
        live: Arc<Release>,
        canary: Option<Canary>,
    },
}

/// A candidate beside the live release.
#[derive(Clone)]
pub(crate) struct Canary {
    pub release: Arc<Release>,
    /// Decides which callers are in which group.
    pub salt: u64,
    /// Knows the share as well.
    pub analysis: Arc<Analysis>,
    /// Receives the reason if the candidate is clearly worse. One slot: the first reason is enough.
    pub verdict: mpsc::Sender<String>,
}

/// A request's part in an analysis.
pub(crate) struct Assignment {
    analysis: Arc<Analysis>,
    /// None once its outcome has been reported.
    entry: Option<Entry>,
    verdict: mpsc::Sender<String>,
}

impl Assignment {
    /// Reports the outcome.
    pub(crate) fn end(mut self, outcome: Sample) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: Sample) {
        if let Some(entry) = self.entry.take()
            && let Some(why) = self.analysis.end(entry, outcome, Instant::now())
        {
            let _ = self.verdict.try_send(why);
        }
    }
}

impl Drop for Assignment {
    /// Later requests wait for its outcome: it must have one.
    fn drop(&mut self) {
        self.report(Sample::Unclear);
    }
}

impl Serving {
    /// The releases that get requests.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Arc<Release>> {
        let (live, canary) = match self {
            Serving::Open { live, canary } => {
                (Some(live), canary.as_ref().map(|canary| &canary.release))
            }
            _ => (None, None),
        };
        live.into_iter().chain(canary)
    }

    /// The candidate beside the live release.
    pub(crate) fn canary(&self) -> Option<&Canary> {
        match self {
            Serving::Open { canary, .. } => canary.as_ref(),
            Serving::Empty | Serving::Stopped => None,
        }
    }

    /// Whether both are identical, including the analysis.
    pub(crate) fn is_same(&self, other: &Serving) -> bool {
        let alike = matches!(
            (self, other),
            (Serving::Empty, Serving::Empty)
                | (Serving::Stopped, Serving::Stopped)
                | (Serving::Open { .. }, Serving::Open { .. })
        );
        let analysis = |serving: &Serving| serving.canary().map(|c| Arc::as_ptr(&c.analysis));
        let releases = |serving: &Serving| serving.releases().map(Arc::as_ptr).collect::<Vec<_>>();
        alike && releases(self) == releases(other) && analysis(self) == analysis(other)
    }
}

impl Canary {
    /// Whether it is the canary of that record.
    pub(crate) fn is_of(&self, record: &CanaryRecord) -> bool {
        (self.release.record.number, self.salt) == (record.number, record.salt)
    }

    /// The release that gets the request of `call`.
    pub(crate) fn choose<'a>(
        &'a self,
        live: &'a Arc<Release>,
        call: &WindowCall,
    ) -> (&'a Arc<Release>, Assignment) {
        let group = caller(call).group(self.salt);
        let entry = self.analysis.begin(group, Instant::now());
        let release = match entry.side {
            Side::Candidate => &self.release,
            Side::Live => live,
        };
        let assignment = Assignment {
            analysis: self.analysis.clone(),
            entry: Some(entry),
            verdict: self.verdict.clone(),
        };
        (release, assignment)
    }
}

/// Who asks: the user, or the address where there is none. The gateway sets both, so neither can be
/// chosen by the client. A call of another window has no address; where it has no user either, each
/// request is a caller of its own, or all of them would be on one side. A delivery counts by the
/// key of its event.
fn caller(call: &WindowCall) -> Caller<'_> {
    if let Some(delivery) = call.delivery() {
        return Caller::Event(delivery.group.as_bytes());
    }
    let headers = call.request.headers();
    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
    match text(USER) {
        Some(user) => Caller::User(user),
        None => {
            let address = text(FORWARDED_FOR).or_else(|| text(REQUEST_ID));
            Caller::Address(address.unwrap_or_default())
        }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
