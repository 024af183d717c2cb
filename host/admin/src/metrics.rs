//! `/metrics`, in the OpenMetrics text format.

use super::Backups;
use super::process::ProcessCollector;
use super::window_metrics::WindowCollector;
use hms_api::{WindowState, Word};
use hms_core::limits::Limit;
use hms_core::printable::Label;
use hms_dashboard::Dashboard;
use hms_disk::reserve::Reserve;
use hms_events::EventsMetrics;
use hms_gateway::Gateway;
use hms_grants::GrantsMetrics;
use hms_net::connection_limit::ConnectionCounters;
use hms_outbound::OutboundMetrics;
use hms_telemetry::otlp::OtlpMetrics;
use hms_windows::{FolderCounts, Load, Registry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry as MetricsRegistry;
use std::sync::Arc;

/// The metrics of the host.
pub struct Metrics {
    registry: MetricsRegistry,
    /// Metrics that have names of their own.
    process: MetricsRegistry,
    live: Family<WindowLabel, Gauge>,
    leases: Family<WindowLabel, Gauge>,
    open: Family<WindowLabel, Gauge>,
    queued: Family<WindowLabel, Gauge>,
    tripped: Family<WindowLabel, Gauge>,
    half_open: Family<WindowLabel, Gauge>,
    canary_skipped: Family<WindowLabel, Gauge>,
    outbox_limit: Family<WindowLabel, Gauge>,
    failures: Family<FailureLabel, Counter>,
    calls: Family<CallLabel, Counter>,
    stores: StoreMetrics,
    slow_clients: SlowClientMetrics,
    /// Of the admin listener.
    pub(super) connections: ConnectionCounters,
    pub(super) slow_readers: Counter,
    deploys_at_work: Family<StageLabel, Gauge>,
    deploys_waiting: Family<StageLabel, Gauge>,
    deploys_refused: Family<StageLabel, Counter>,
    unsaved: Family<UnsavedLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabel {
    window: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    window: Label,
    reason: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    from: Label,
    to: Label,
    outcome: &'static str,
}

/// How disks delay the stores of the windows, and what is emitted into them.
#[derive(Default)]
struct StoreMetrics {
    emitted: Family<WindowLabel, Counter>,
    waited: Family<WindowLabel, Counter>,
    waiting: Family<WindowLabel, Gauge>,
    reopened: Family<WindowLabel, Counter>,
}

impl StoreMetrics {
    fn register(registry: &mut MetricsRegistry) -> Self {
        let stores = StoreMetrics::default();
        registry.register(
            "store_reads_waited",
            "Reads of the window's store that had to wait for the disk, off the lanes",
            stores.waited.clone(),
        );
        registry.register(
            "store_reads_waiting",
            "Reads of the window's store that wait for the disk now; a few of them have a thread",
            stores.waiting.clone(),
        );
        registry.register(
            "store_reopened",
            "Times the window's store was reopened after a fault of its file",
            stores.reopened.clone(),
        );
        registry.register(
            "events_emitted",
            "Events that the window emitted, those that wait for their time included",
            stores.emitted.clone(),
        );
        stores
    }

    fn fill(&self, windows: &Registry) {
        self.waited.clear();
        self.waiting.clear();
        self.reopened.clear();
        self.emitted.clear();
        for (window, stats) in windows.store_stats() {
            let window = Label(window);
            let label = WindowLabel { window };
            self.waited.get_or_create(&label).inc_by(stats.waited);
            self.waiting.get_or_create(&label).set(stats.waiting as i64);
            self.reopened.get_or_create(&label).inc_by(stats.reopened);
            if stats.events > 0 {
                self.emitted.get_or_create(&label).inc_by(stats.events);
            }
        }
    }
}

/// Instances that wait for slow clients.
#[derive(Default)]
struct SlowClientMetrics {
    waiting: Gauge,
    given_way: Counter,
}

impl SlowClientMetrics {
    fn register(registry: &mut MetricsRegistry) -> Self {
        let clients = SlowClientMetrics::default();
        registry.register(
            "slow_clients",
            "Requests whose instances wait for slow clients now",
            clients.waiting.clone(),
        );
        registry.register(
            "slow_clients_ended",
            "Requests ended because too many instances waited for clients and theirs was the slowest",
            clients.given_way.clone(),
        );
        clients
    }

    fn fill(&self, windows: &Registry) {
        let (waiting, given_way) = windows.slow_clients();
        self.waiting.set(waiting as i64);
        let counted = self.given_way.get();
        self.given_way.inc_by(given_way.saturating_sub(counted));
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnsavedLabel {
    what: &'static str,
}

impl Metrics {
    /// Registers the metrics of the gateway and the windows.
    pub fn new(gateway: &Gateway) -> Self {
        let mut registry = MetricsRegistry::with_prefix("hms");
        let live = Family::default();
        let leases = Family::default();
        let open = Family::default();
        let queued = Family::default();
        let tripped = Family::default();
        let half_open = Family::default();
        let canary_skipped = Family::default();
        let outbox_limit = Family::default();
        let failures = Family::default();
        let calls = Family::default();
        let unsaved = Family::default();
        registry.register(
            "window_live_release",
            "Number of the window's live release",
            live.clone(),
        );
        registry.register(
            "window_leases",
            "Requests in flight on the live release",
            leases.clone(),
        );
        registry.register("window_open", "1 if the window is open", open.clone());
        registry.register(
            "window_queued",
            "Requests waiting for an instance of the window",
            queued.clone(),
        );
        registry.register(
            "window_tripped",
            "1 if the breaker has closed the window because its instances keep failing",
            tripped.clone(),
        );
        registry.register(
            "window_half_open",
            "1 if the breaker is half open: the next request decides whether the window opens",
            half_open.clone(),
        );
        registry.register(
            "window_canary_skipped",
            "Requests of the running canary that were not compared, because too many were in flight",
            canary_skipped.clone(),
        );
        registry.register(
            "outbox_limit_bytes",
            "The most that the window's log of events and what waits may take: the limit --outbox",
            outbox_limit.clone(),
        );
        registry.register(
            "window_failures",
            "Requests that a window did not answer, or not completely, by reason",
            failures.clone(),
        );
        registry.register(
            "window_calls",
            "Calls between windows, by who calls whom and what came of it",
            calls.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Lines of the host's log dropped because nobody read them fast enough or they could not be written",
            hms_telemetry::lines_dropped(),
        );
        let stores = StoreMetrics::register(&mut registry);
        let slow_clients = SlowClientMetrics::register(&mut registry);
        let deploys_at_work = Family::default();
        let deploys_waiting = Family::default();
        let deploys_refused = Family::default();
        registry.register(
            "deploys_at_work",
            "Components being uploaded (upload) or compiled (compile)",
            deploys_at_work.clone(),
        );
        registry.register(
            "deploys_waiting",
            "Components queued for upload or compilation",
            deploys_waiting.clone(),
        );
        registry.register(
            "deploys_refused",
            "Deploys refused because the queue was full",
            deploys_refused.clone(),
        );
        registry.register(
            "unsaved_changes",
            "Windows and revoked API keys whose last change is in effect but not on disk yet",
            unsaved.clone(),
        );
        gateway.metrics().register(&mut registry);
        let (connections, slow_readers) = (ConnectionCounters::default(), Counter::default());
        let admin = registry.sub_registry_with_prefix("admin");
        connections.register(admin);
        admin.register(
            "slow_readers",
            "Admin API connections closed because their client read too slowly",
            slow_readers.clone(),
        );
        let mut process = MetricsRegistry::default();
        process.register_collector(Box::new(ProcessCollector::new()));
        Metrics {
            registry,
            process,
            live,
            leases,
            open,
            queued,
            tripped,
            half_open,
            canary_skipped,
            outbox_limit,
            failures,
            calls,
            stores,
            slow_clients,
            connections,
            slow_readers,
            deploys_at_work,
            deploys_waiting,
            deploys_refused,
            unsaved,
        }
    }

    /// Adds what is counted of the windows.
    pub fn windows(&mut self, windows: &Arc<Registry>) {
        let collector = WindowCollector(windows.clone());
        self.registry.register_collector(Box::new(collector));
        windows.deploys().register(&mut self.registry);
    }

    /// Adds whether the host's reserve on the disk is there.
    pub fn reserve(&mut self, reserve: Arc<Reserve>) {
        self.registry
            .register_collector(Box::new(ReserveCollector(reserve)));
    }

    /// Adds what comes of calls of windows to services.
    pub fn outgoing(&mut self, calls: &OutboundMetrics) {
        calls.register(&mut self.registry);
    }

    /// Adds what is known of events and their deliveries.
    pub fn events(&mut self, events: &EventsMetrics) {
        events.register(&mut self.registry);
    }

    /// Adds what was exported, and what was dropped.
    pub fn otlp(&mut self, exporter: &OtlpMetrics) {
        exporter.register(&mut self.registry);
    }

    /// Adds what came of backups.
    pub fn backups(&mut self, backups: &Backups) {
        let counters = &backups.counters;
        self.registry.register(
            "backups",
            "Backups of this host: complete, failed (or incomplete), refused because one was running",
            counters.outcomes.clone(),
        );
        self.registry.register(
            "backup_last_complete_seconds",
            "Unix time at which the last complete backup ended; 0: none since startup",
            counters.last_complete.clone(),
        );
    }

    /// Adds what is counted of the dashboard.
    pub fn dashboard(&mut self, dashboard: &Dashboard) {
        let admin = self.registry.sub_registry_with_prefix("admin");
        admin.register(
            "sign_ins_refused",
            "Sign-ins to the dashboard refused because of wrong tokens before them, mostly of one address",
            dashboard.sign_ins_refused().clone(),
        );
    }

    /// Adds what is measured of the grants folder.
    pub fn grants(&mut self, counts: &GrantsMetrics) {
        self.registry.register(
            "grants_files_refused",
            "Grants files whose present text is refused",
            counts.manifests.files_refused.clone(),
        );
        self.registry.register(
            "grants_files_over_limit",
            "Grants files beyond the number that the host follows; they are not read",
            counts.manifests.files_over_limit.clone(),
        );
        self.registry.register(
            "grants_folder_unreadable",
            "1 if the grants folder cannot be read or lost all manifests: the grants stay as they last were",
            counts.manifests.folder_unreadable.clone(),
        );
        self.registry.register(
            "secrets_unreadable",
            "Secrets of grants files whose values cannot be read now; their last values are used",
            counts.secrets_unreadable.clone(),
        );
    }

    /// Adds what is measured of a watched folder of components.
    pub fn watched_files(&mut self, counts: FolderCounts) {
        self.registry.register(
            "watched_files_refused",
            "Files of the windows folder that were not deployed; the log says why",
            counts.refused,
        );
        self.registry.register(
            "watched_files_over_limit",
            "Files of the windows folder beyond the number that the host follows",
            counts.over_limit,
        );
        self.registry.register(
            "watched_folder_unreadable",
            "1 if the windows folder is unreadable and the windows stay as they last were",
            counts.unreadable,
        );
    }

    /// The metrics now.
    pub fn render(&self, windows: &Registry, gateway: &Gateway) -> String {
        for family in [
            &self.live,
            &self.leases,
            &self.open,
            &self.queued,
            &self.tripped,
            &self.half_open,
            &self.canary_skipped,
            &self.outbox_limit,
        ] {
            family.clear();
        }
        self.failures.clear();
        for status in windows.statuses() {
            let label = WindowLabel {
                window: Label(status.name.clone()),
            };
            let number = status.live.map_or(0, |release| release.number);
            self.live.get_or_create(&label).set(number as i64);
            self.tripped
                .get_or_create(&label)
                .set(i64::from(status.tripped.is_some()));
            self.half_open
                .get_or_create(&label)
                .set(i64::from(status.half_open.is_some()));
            self.queued.get_or_create(&label).set(status.queued as i64);
            let outbox = status.limits.get(Limit::OutboxBytes.row().name).copied();
            let outbox = outbox.unwrap_or(0);
            let outbox_limit = self.outbox_limit.get_or_create(&label);
            outbox_limit.set(i64::try_from(outbox).unwrap_or(i64::MAX));
            if let Some(canary) = &status.canary {
                let skipped = self.canary_skipped.get_or_create(&label);
                skipped.set(canary.skipped as i64);
            }
            for (reason, count) in status.failures {
                let label = FailureLabel {
                    window: label.window.clone(),
                    reason,
                };
                self.failures.get_or_create(&label).inc_by(count);
            }
            self.leases.get_or_create(&label).set(status.leases as i64);
            self.open
                .get_or_create(&label)
                .set(i64::from(status.state == WindowState::Open));
        }
        self.calls.clear();
        for (from, to, outcome, count) in windows.calls_between_windows() {
            let label = CallLabel {
                from: Label(from.to_string()),
                to: Label(to.to_string()),
                outcome: outcome.name(),
            };
            self.calls.get_or_create(&label).inc_by(count);
        }
        self.stores.fill(windows);
        self.slow_clients.fill(windows);
        self.deploys_refused.clear();
        let artifacts = windows.artifacts();
        self.deploys("upload", artifacts.receiving());
        self.deploys("compile", artifacts.compiling());
        gateway.measure();
        let keys = gateway.api_keys().unsaved();
        let revoked = keys.map_or(0, |unsaved| unsaved.revoked.len());
        for (what, count) in [("window", windows.unsaved()), ("key", revoked)] {
            let unsaved = self.unsaved.get_or_create(&UnsavedLabel { what });
            unsaved.set(count as i64);
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn deploys(&self, stage: &'static str, load: Load) {
        let label = StageLabel { stage };
        let count = |many: usize| i64::try_from(many).unwrap_or(i64::MAX);
        self.deploys_at_work
            .get_or_create(&label)
            .set(count(load.at_work));
        self.deploys_waiting
            .get_or_create(&label)
            .set(count(load.waiting));
        self.deploys_refused
            .get_or_create(&label)
            .inc_by(load.refused);
    }
}

/// Asks the reserve when the metrics are asked for.
#[derive(Debug)]
struct ReserveCollector(Arc<Reserve>);

impl Collector for ReserveCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(i64::from(self.0.is_there()));
        let help = "1 if the host's disk reserve exists, 0 after a full disk consumed it";
        let metric = encoder.encode_descriptor("disk_reserve", help, None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
