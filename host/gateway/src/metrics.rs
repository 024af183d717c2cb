//! What the gateway counts. The admin API exports it.

use hms_core::error::Problem;
use hms_core::measures::{self, Durations, OfTrace};
use hms_core::printable::Label;
use hms_core::trace::SpanLog;
use hms_manifest::ManifestMetrics;
use hms_net::connection_limit::ConnectionCounters;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of one gateway. Clones share them through one pointer: each request has a clone.
#[derive(Clone)]
pub struct GatewayMetrics(Arc<Counters>);

impl std::ops::Deref for GatewayMetrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

/// What a gateway counts.
pub struct Counters {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, HistogramWithExemplars<OfTrace>>,
    rate_limited: Family<RouteLabel, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    connections: Gauge,
    connection_limit: ConnectionCounters,
    slow_readers: Counter,
    services_full: Counter,
    http2_connections: Counter,
    handshakes_failed: Counter,
    websockets_ended: Family<ReasonLabel, Counter>,
    manifests: ManifestMetrics,
    certificate_refused: Gauge,
    certificate_expiry: Gauge,
    share_hits: ShareHits,
    keys_age: Family<IssuerLabel, Gauge<f64, AtomicU64>>,
    keys_usable: Family<IssuerLabel, Gauge>,
    key_fetches_failed: Family<IssuerLabel, Counter>,
    tokens_too_large: Counter,
    cache_requests: Family<CacheLabels, Counter>,
    cache_stored: Counter,
    cache_not_stored: Family<ReasonLabel, Counter>,
    cache_evicted: Counter,
    cache_bytes: Gauge,
    cache_entries: Gauge,
}

/// The state of an issuer's keys, for operators.
#[derive(Debug, Clone, Copy)]
pub struct KeyState {
    /// Time since the last successful fetch; without one, since the start of the host.
    pub age: Duration,
    /// Usable keys.
    pub keys: usize,
    /// Failed fetches.
    pub failed: u64,
}

/// How often a request was refused because a share of something was used up. Clones count together.
#[derive(Clone, Default)]
pub struct ShareHits(Family<ShareLabels, Counter>);

/// Whose share was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of one caller, or of one client address without a caller.
    Caller,
    Route,
    /// All shares together.
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShareLabels {
    of: &'static str,
    whose: &'static str,
}

impl ShareHits {
    /// Counts one refusal for a share of `of`.
    pub fn hit(&self, of: &'static str, whose: Whose) {
        let whose = match whose {
            Whose::Caller => "caller",
            Whose::Route => "route",
            Whose::Host => "host",
        };
        self.0.get_or_create(&ShareLabels { of, whose }).inc();
    }
}

/// Why an answer is not stored that might be by what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCached {
    /// It is larger than `max-body`, or than a part of the memory.
    TooLarge,
    /// The answers that are not complete yet have used up their part of the memory.
    Memory,
}

impl NotCached {
    fn word(self) -> &'static str {
        match self {
            NotCached::TooLarge => "too-large",
            NotCached::Memory => "memory",
        }
    }
}

/// Labels are bounded: routes by the number of manifests, the others by their kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Label,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    route: Label,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// By the names in the host's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl GatewayMetrics {
    /// All counters at zero.
    pub fn new() -> Self {
        GatewayMetrics(Arc::new(Counters {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Durations::default().histogram().clone()),
            rate_limited: Family::default(),
            refusals: Family::default(),
            connections: Gauge::default(),
            connection_limit: ConnectionCounters::default(),
            slow_readers: Counter::default(),
            services_full: Counter::default(),
            http2_connections: Counter::default(),
            handshakes_failed: Counter::default(),
            websockets_ended: Family::default(),
            manifests: ManifestMetrics::default(),
            certificate_refused: Gauge::default(),
            certificate_expiry: Gauge::default(),
            share_hits: ShareHits::default(),
            keys_age: Family::default(),
            keys_usable: Family::default(),
            key_fetches_failed: Family::default(),
            tokens_too_large: Counter::default(),
            cache_requests: Family::default(),
            cache_stored: Counter::default(),
            cache_not_stored: Family::default(),
            cache_evicted: Counter::default(),
            cache_bytes: Gauge::default(),
            cache_entries: Gauge::default(),
        }))
    }

    /// Registers the counters in `registry`, all under `gateway_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("gateway");
        registry.register(
            "requests",
            "Requests answered, by route and class of status",
            self.requests.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the head of a request to the last byte of its answer",
            self.durations.clone(),
        );
        registry.register(
            "rate_limited",
            "Requests refused by rate limits, by route",
            self.rate_limited.clone(),
        );
        registry.register(
            "refusals",
            "Requests that failed, by the problem's code and whose fault it is",
            self.refusals.clone(),
        );
        registry.register(
            "open_connections",
            "Client connections open",
            self.connections.clone(),
        );
        self.connection_limit.register(registry);
        registry.register(
            "service_limit_hits",
            "Requests refused because the limit of requests to services was reached",
            self.services_full.clone(),
        );
        registry.register(
            "service_http2_connections",
            "HTTP/2 connections made to services, a further one for each that was full",
            self.http2_connections.clone(),
        );
        registry.register(
            "slow_readers",
            "Connections, and streams of HTTP/2, ended because their client took too little of its answer",
            self.slow_readers.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed or took too long",
            self.handshakes_failed.clone(),
        );
        registry.register(
            "websockets_ended",
            "WebSockets that have ended, by reason",
            self.websockets_ended.clone(),
        );
        registry.register(
            "route_files_refused",
            "Route manifests whose present text is refused",
            self.manifests.files_refused.clone(),
        );
        registry.register(
            "route_files_over_limit",
            "Route manifests beyond the number that the host follows; they are not read",
            self.manifests.files_over_limit.clone(),
        );
        registry.register(
            "route_folder_unreadable",
            "1 where the routes folder cannot be read or lost all manifests: the routes stay as they last were",
            self.manifests.folder_unreadable.clone(),
        );
        registry.register(
            "certificate_refused",
            "1 if the certificate files cannot be used: the previous certificate stays in use",
            self.certificate_refused.clone(),
        );
        registry.register(
            "certificate_expiry_seconds",
            "Unix time at which the certificate in use expires; 0: there is none",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "share_hits",
            "Times that somebody wanted more than their share of a shared resource",
            self.share_hits.0.clone(),
        );
        registry.register(
            "keys_age_seconds",
            "Time since an issuer's keys were fetched; if never, since the start",
            self.keys_age.clone(),
        );
        registry.register(
            "keys_usable",
            "Keys of an issuer that tokens can be checked with",
            self.keys_usable.clone(),
        );
        registry.register(
            "key_fetches_failed",
            "Fetches of an issuer's keys that have failed",
            self.key_fetches_failed.clone(),
        );
        registry.register(
            "tokens_too_large",
            "Tokens that were refused because they are larger than --max-token",
            self.tokens_too_large.clone(),
        );
        registry.register(
            "cache_requests",
            "Requests on routes with a cache, by what it did with them",
            self.cache_requests.clone(),
        );
        registry.register(
            "cache_stored",
            "Answers that were stored",
            self.cache_stored.clone(),
        );
        registry.register(
            "cache_not_stored",
            "Answers that are not stored though they allow it, by reason",
            self.cache_not_stored.clone(),
        );
        registry.register(
            "cache_evicted",
            "Entries that made room for others, or were replaced by a newer answer",
            self.cache_evicted.clone(),
        );
        registry.register(
            "cache_bytes",
            "Bytes of stored answers, and of those that are not complete yet",
            self.cache_bytes.clone(),
        );
        registry.register(
            "cache_entries",
            "Stored answers, and addresses whose answers vary",
            self.cache_entries.clone(),
        );
    }

    /// Records the state of one issuer's keys.
    pub(super) fn keys(&self, issuer: &str, state: KeyState) {
        let label = IssuerLabel {
            issuer: issuer.to_owned(),
        };
        let age = self.keys_age.get_or_create(&label);
        age.set(state.age.as_secs_f64());
        self.keys_usable
            .get_or_create(&label)
            .set(state.keys as i64);
        let failed = self.key_fetches_failed.get_or_create(&label);
        failed.inner().store(state.failed, Ordering::Relaxed);
    }

    pub(super) fn answered(
        &self,
        route: &str,
        status: u16,
        took: Duration,
        problem: Option<Problem>,
        spans: Option<&SpanLog>,
    ) {
        let (route, status) = (Label(route.to_string()), format!("{}xx", status / 100));
        let label = RouteLabel {
            route: route.clone(),
        };
        measures::observe(&self.durations.get_or_create(&label), took, spans);
        if problem == Some(Problem::RateLimited) {
            self.rate_limited.get_or_create(&label).inc();
        }
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
        if let Some(problem) = problem {
            let (code, fault) = (problem.code(), problem.fault().name());
            self.refusals
                .get_or_create(&RefusalLabels { code, fault })
                .inc();
        }
    }

    /// The cache of `route` had a part in a request; `outcome` is the word of the access log.
    pub(super) fn cache_asked(&self, route: &str, outcome: &'static str) {
        let route = Label(route.to_string());
        let labels = CacheLabels { route, outcome };
        self.cache_requests.get_or_create(&labels).inc();
    }

    pub(super) fn cache_stored(&self) {
        self.cache_stored.inc();
    }

    pub(super) fn not_cached(&self, why: NotCached) {
        let reason = why.word();
        self.cache_not_stored
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    pub(super) fn cache_evicted(&self) -> Counter {
        self.cache_evicted.clone()
    }

    pub(super) fn cache_size(&self, bytes: u64, entries: usize) {
        self.cache_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.cache_entries
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    pub(super) fn share_hits(&self) -> &ShareHits {
        &self.share_hits
    }

    /// Of the routes folder.
    pub(super) fn manifests(&self) -> ManifestMetrics {
        self.manifests.clone()
    }

    /// The certificate in use ends then.
    pub(super) fn certificate_ends(&self, at: i64) {
        self.certificate_expiry.set(at);
    }

    pub(super) fn certificate_refused(&self) -> Gauge {
        self.certificate_refused.clone()
    }

    pub(super) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// `reason` is a word of the access log: `ended`, `broken`, `idle`, `credential` or `shutdown`.
    pub(super) fn websocket_ended(&self, reason: &'static str) {
        let label = ReasonLabel { reason };
        self.websockets_ended.get_or_create(&label).inc();
    }

    pub(super) fn connection_limit(&self) -> ConnectionCounters {
        self.connection_limit.clone()
    }

    pub(super) fn services_full(&self) -> Counter {
        self.services_full.clone()
    }

    pub(super) fn tokens_too_large(&self) -> Counter {
        self.tokens_too_large.clone()
    }

    pub(super) fn http2_connections(&self) -> Counter {
        self.http2_connections.clone()
    }

    pub(super) fn slow_readers(&self) -> Counter {
        self.slow_readers.clone()
    }

    /// Counts one open connection until the guard is dropped.
    pub(super) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
