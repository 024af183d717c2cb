//! Calls of windows to services. Put together before the windows, which are opened with them.

use crate::descriptors;
use hms_core::limits::WindowLimits;
use hms_core::outgoing::Outgoing;
use hms_grants::{AllGrants, NamedFiles};
use hms_net::client::OwnListeners;
use hms_outbound::{Callers, Outbound, OutboundConfig, OutboundMetrics};
use hms_windows::Registry;
use std::sync::{Arc, OnceLock, Weak};
use tokio::net::TcpListener;

/// The calls, and the windows that make them.
pub(super) struct OutgoingCalls {
    pub(super) metrics: OutboundMetrics,
    outbound: Outbound,
    windows: Arc<OpenWindows>,
    own_listeners: OwnListeners,
}

/// The windows, once they are open. They hold the calls, so this does not hold them.
#[derive(Default)]
struct OpenWindows(OnceLock<Weak<Registry>>);

impl OutgoingCalls {
    /// Calls by `grants`, with the `files` that they name. `open_files` bounds them.
    pub(super) fn new(grants: Arc<AllGrants>, files: NamedFiles, open_files: Option<u64>) -> Self {
        let metrics = OutboundMetrics::default();
        let windows = Arc::<OpenWindows>::default();
        let own_listeners = OwnListeners::default();
        let outbound = Outbound::new(OutboundConfig {
            grants,
            files,
            callers: windows.clone(),
            own_listeners: own_listeners.clone(),
            max_at_once: descriptors::calls(open_files),
            max_connections: descriptors::call_connections(open_files),
            metrics: metrics.clone(),
            roots: None,
            resolver: None,
        });
        OutgoingCalls {
            metrics,
            outbound,
            windows,
            own_listeners,
        }
    }

    /// What windows call by.
    pub(super) fn sender(&self) -> Arc<dyn Outgoing> {
        Arc::new(self.outbound.clone())
    }

    /// Refuses calls to these listeners of this host.
    pub(super) fn refuse<'a>(&self, listeners: impl Iterator<Item = &'a TcpListener>) {
        let addresses = listeners.filter_map(|listener| listener.local_addr().ok());
        self.own_listeners.set(addresses.collect());
    }

    /// Whose limits hold, and into whose logs is written.
    pub(super) fn of(&self, windows: &Arc<Registry>) {
        // Set once, by the one host.
        let _ = self.windows.0.set(Arc::downgrade(windows));
    }
}

impl OpenWindows {
    fn registry(&self) -> Option<Arc<Registry>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl Callers for OpenWindows {
    fn limits(&self, window: &str) -> WindowLimits {
        let windows = self.registry();
        let limits = windows.and_then(|windows| windows.live_limits(window));
        limits.unwrap_or_default()
    }

    fn log(&self, window: &str, line: &str) {
        if let Some(windows) = self.registry() {
            windows.say(window, line);
        }
    }
}
