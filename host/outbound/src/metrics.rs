//! What is counted of calls. The admin API exports it.

use hms_core::measures::BUCKETS;
use hms_core::printable::Label;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// The origin of a call that no grant is for: what guests write is no label.
const NO_ORIGIN: &str = "-";

/// Counters of all calls. Clones share them.
#[derive(Clone, Default)]
pub struct OutboundMetrics(Arc<Counters>);

struct Counters {
    calls: Family<CallLabels, Counter>,
    durations: Family<OriginLabels, Histogram>,
    in_flight: Family<WindowLabel, Gauge>,
    refusals: Family<RefusalLabels, Counter>,
    retries: Family<WindowLabel, Counter>,
    http2_connections: Counter,
}

/// Why the host itself refused a call or ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No grant allows it.
    Denied,
    /// A secret has no usable value.
    Secret,
    /// The screen, or an own listener.
    Address,
    /// The origin fails and has a pause.
    Unavailable,
    WindowFull,
    /// Of connections, not of calls.
    WindowConnections,
    /// The same of all windows together.
    HostConnections,
    GrantFull,
    HostFull,
    RequestSize,
    ResponseSize,
    Time,
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Refusal::Denied => "denied",
            Refusal::Secret => "secret",
            Refusal::Address => "address",
            Refusal::Unavailable => "unavailable",
            Refusal::WindowFull => "at-once-window",
            Refusal::WindowConnections => "connections-window",
            Refusal::HostConnections => "connections-host",
            Refusal::GrantFull => "at-once-grant",
            Refusal::HostFull => "at-once-host",
            Refusal::RequestSize => "request-size",
            Refusal::ResponseSize => "response-size",
            Refusal::Time => "time",
        }
    }
}

/// Labels are bounded: windows and origins by the grants files, the rest by their kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    window: Label,
    origin: Label,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginLabels {
    window: Label,
    origin: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabel {
    window: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    window: Label,
    reason: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            calls: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Family::default(),
            refusals: Family::default(),
            retries: Family::default(),
            http2_connections: Counter::default(),
        }
    }
}

impl OutboundMetrics {
    /// Names the counters in `registry`, all under `outgoing_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("outgoing");
        registry.register(
            "calls",
            "Calls of windows to services, by origin as the grant has it, and class of status or error",
            self.0.calls.clone(),
        );
        registry.register(
            "call_duration_seconds",
            "From a call to the last byte of its answer",
            self.0.durations.clone(),
        );
        registry.register(
            "calls_in_flight",
            "Calls whose answer has not ended yet",
            self.0.in_flight.clone(),
        );
        registry.register(
            "refusals",
            "Calls that the host refused or ended, by reason",
            self.0.refusals.clone(),
        );
        registry.register(
            "retries",
            "Calls that were sent once more",
            self.0.retries.clone(),
        );
        registry.register(
            "http2_connections",
            "HTTP/2 connections made to services for windows",
            self.0.http2_connections.clone(),
        );
    }

    pub(crate) fn http2_connections(&self) -> Counter {
        self.0.http2_connections.clone()
    }

    pub(crate) fn refused(&self, window: &str, refusal: Refusal) {
        let (window, reason) = (Label(window.to_owned()), refusal.reason());
        let labels = RefusalLabels { window, reason };
        self.0.refusals.get_or_create(&labels).inc();
    }

    pub(crate) fn retried(&self, window: &str) {
        self.0.retries.get_or_create(&window_label(window)).inc();
    }

    /// Counts one call that has ended. `class` is that of its status, or the code of its error.
    pub(crate) fn ended(
        &self,
        window: &str,
        origin: Option<&str>,
        class: &'static str,
        took: Duration,
    ) {
        let window = Label(window.to_owned());
        let origin = Label(origin.unwrap_or(NO_ORIGIN).to_owned());
        let labels = OriginLabels {
            window: window.clone(),
            origin: origin.clone(),
        };
        let durations = self.0.durations.get_or_create(&labels);
        durations.observe(took.as_secs_f64());
        let labels = CallLabels {
            window,
            origin,
            class,
        };
        self.0.calls.get_or_create(&labels).inc();
    }

    /// Counts one call in flight until the guard is dropped.
    pub(crate) fn in_flight(&self, window: &str) -> InFlight {
        let gauge = self.0.in_flight.get_or_create_owned(&window_label(window));
        gauge.inc();
        InFlight(gauge)
    }
}

fn window_label(window: &str) -> WindowLabel {
    WindowLabel {
        window: Label(window.to_owned()),
    }
}

/// One call in flight.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
