//! What a request may do beyond its answer, settled when it begins.

use super::lasting::Over;
use crate::instance::InstanceContext;
use crate::requests::RequestInHand;
use hms_core::call::WindowCall;
use hms_core::headers::{REQUEST_ID, SCOPES, TRACEPARENT, USER};
use hms_core::next::Next;
use hms_core::outgoing::{CallChain, OnBehalf};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Only of requests that may go on, call out, or emit events: others pay nothing for it.
pub(crate) struct Calling {
    /// The rest of its way, at a middleware.
    pub next: Option<Next>,
    /// For whom its calls are, where its window had a grant when it began.
    pub behalf: Option<Behalf>,
    /// As the host stamped it, where it may be passed on.
    pub traceparent: Option<HeaderValue>,
    over: Over,
}

/// For whom the calls of a request are.
pub(crate) struct Behalf {
    request_id: Option<HeaderValue>,
    user: Option<HeaderValue>,
    scopes: Option<HeaderValue>,
    /// What its client showed of itself: none of it leaves by being passed on.
    pub credentials: Vec<HeaderValue>,
    /// Calls that it has made so far.
    pub calls: Arc<AtomicU32>,
    /// The windows through which it has come.
    pub chain: CallChain,
    /// Instances that wait for its answer.
    pub waiting: usize,
    /// Whether its place in the pool is one of those that may wait for further places.
    pub may_wait: bool,
}

impl Calling {
    /// Of a request to the window of `context`, if it may do anything of that. `transacts`: its
    /// release may emit events. `may_wait`: it has its place in the pool as one that may wait for
    /// others.
    pub(crate) fn of(
        call: &mut WindowCall,
        context: &InstanceContext,
        transacts: bool,
        may_wait: bool,
    ) -> Option<Arc<Calling>> {
        let next = call.next.take();
        let granted = context.grants.load().grants.calls_out();
        if next.is_none() && !granted && !transacts {
            return None;
        }
        let traceparent = call.request.headers().get(TRACEPARENT);
        Some(Arc::new(Calling {
            next,
            behalf: granted.then(|| Behalf::of(call, may_wait)),
            traceparent: traceparent.filter(|_| granted || transacts).cloned(),
            over: Over::default(),
        }))
    }

    /// Whether it may go on, or call out.
    pub(crate) fn has_a_way(&self) -> bool {
        self.next.is_some() || self.behalf.is_some()
    }

    /// Its answer is out, nobody waits for it, or it failed.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_over()
    }

    /// What says that it is over.
    pub(crate) fn over(&self) -> &Over {
        &self.over
    }

    #[cfg(test)]
    pub(crate) fn passing_on(next: Next) -> Arc<Calling> {
        Arc::new(Calling {
            next: Some(next),
            behalf: None,
            traceparent: None,
            over: Over::default(),
        })
    }
}

impl Behalf {
    /// As the gateway, or the calling window's host, stamped the request.
    fn of(call: &WindowCall, may_wait: bool) -> Self {
        let headers = call.request.headers();
        let stamped = |name: HeaderName| headers.get(name).cloned();
        Behalf {
            request_id: stamped(REQUEST_ID),
            user: stamped(USER),
            scopes: stamped(SCOPES),
            credentials: credentials(headers),
            calls: Arc::default(),
            chain: call
                .calling_window()
                .map(|from| from.chain.clone())
                .unwrap_or_default(),
            waiting: call.waiting,
            may_wait,
        }
    }

    /// Said for one call of the window of `context`, for `request`. `traceparent`: that of the
    /// request.
    pub(crate) fn said(
        &self,
        context: &InstanceContext,
        traceparent: Option<HeaderValue>,
        request: &RequestInHand,
    ) -> OnBehalf {
        OnBehalf {
            window: context.window.clone(),
            release: context.release,
            request_id: self.request_id.clone(),
            traceparent,
            user: self.user.clone(),
            scopes: self.scopes.clone(),
            deadline: request.deadline(),
            begin_by: request.begin_by(),
            calls: self.calls.clone(),
            chain: self.chain.clone(),
            spans: request.spans(),
        }
    }
}

fn credentials(headers: &HeaderMap) -> Vec<HeaderValue> {
    let shown = headers
        .iter()
        .filter(|(name, _)| super::clean::shows_who(name));
    shown.map(|(_, value)| value.clone()).collect()
}
