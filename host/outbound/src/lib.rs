//! Calls of windows to services of the network: what is granted, and nothing else.
//!
//! [`Outbound`] is one call from top to bottom (`call`): its URI is read strictly (`target`), the
//! grant that fits is found (`policy`), the head is cleaned (`headers`) and given its secrets
//! (`inject`), its permits are taken, and it is sent by the client that belongs to the
//! grant (`client`), once more where that cannot do a thing twice (`tries`). `upload` and `answer`
//! hold the bodies to their bounds; `window` is what is kept of a window between its calls, with an
//! `entry` for each grant and its `certificates`, and `error` says why a call failed. `record`
//! writes the line of each call and counts it, by [`metrics`].
//!
//! The runtime asks by the trait [`Outgoing`]. It has counted the calls of the request by then.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod answer;
mod call;
mod certificates;
mod client;
mod entry;
mod error;
mod headers;
mod inject;
mod metrics;
mod policy;
mod record;
mod target;
#[cfg(test)]
mod tests;
mod tries;
mod upload;
mod window;

pub use metrics::OutboundMetrics;

use client::Clients;
use futures_util::future::BoxFuture;
use hms_core::body::Body;
use hms_core::limits::WindowLimits;
use hms_core::outgoing::{CallError, OnBehalf, Outgoing, RequestedTimeouts};
use hms_grants::{AllGrants, NamedFiles};
use hms_net::client::{OwnListeners, Permits, Resolve, Roots};
use http::{Request, Response};
use std::sync::Arc;
use window::Windows;

/// What is asked about the windows that call.
pub trait Callers: Send + Sync {
    /// The limits of a window as they are now.
    fn limits(&self, window: &str) -> WindowLimits;

    /// Writes a line of the host into a window's log.
    fn log(&self, window: &str, line: &str);
}

/// What calls need beyond their request.
pub struct OutboundConfig {
    /// What windows may do.
    pub grants: Arc<AllGrants>,
    /// The certificate files that grants name.
    pub files: NamedFiles,
    /// Who calls.
    pub callers: Arc<dyn Callers>,
    /// Refused whatever is granted.
    pub own_listeners: OwnListeners,
    /// Calls at once of all windows: a quarter of the file descriptors, because each may have a
    /// connection of its own.
    pub max_at_once: usize,
    /// Connections of all windows at once, idle ones included.
    pub max_connections: usize,
    /// Registered by whoever exports them.
    pub metrics: OutboundMetrics,
    /// The certificate authorities of services; none: the system's, read at the first call.
    pub roots: Option<Roots>,
    /// Resolves names; none: the system does.
    pub resolver: Option<Arc<dyn Resolve>>,
}

/// Calls of windows to services. Clones share everything.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    grants: Arc<AllGrants>,
    callers: Arc<dyn Callers>,
    clients: Clients,
    /// Of all windows together.
    permits: Arc<Permits>,
    max_at_once: usize,
    windows: Windows,
    metrics: OutboundMetrics,
}

impl Outbound {
    /// Without connections yet.
    pub fn new(config: OutboundConfig) -> Self {
        Outbound(Arc::new(Inner {
            clients: Clients {
                files: config.files,
                own_listeners: config.own_listeners,
                roots: config.roots.map(Into::into).unwrap_or_default(),
                resolver: config.resolver,
                http2_opened: config.metrics.http2_connections(),
            },
            grants: config.grants,
            callers: config.callers,
            permits: Arc::default(),
            max_at_once: config.max_at_once,
            windows: Windows::new(config.max_connections),
            metrics: config.metrics,
        }))
    }
}

impl Outgoing for Outbound {
    fn send(
        &self,
        from: OnBehalf,
        request: Request<Body>,
        requested: RequestedTimeouts,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let inner = self.0.clone();
        Box::pin(async move { inner.call(from, request, requested).await })
    }
}
