//! What is counted of deliveries.

use crate::events::Shared;
use crate::records::Id;
use hms_core::printable::Label;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Arc, Weak};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabel {
    window: Label,
    subscription: Label,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    window: Label,
    name: Label,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabel {
    window: Label,
}

/// Counters of deliveries, and what is measured when it is asked for.
#[derive(Debug, Clone, Default)]
pub struct EventsMetrics {
    attempts: Family<AttemptLabel, Counter>,
    shared: Arc<Mutex<Weak<Shared>>>,
}

impl EventsMetrics {
    pub(crate) fn watch(&self, shared: &Arc<Shared>) {
        *self.shared.lock() = Arc::downgrade(shared);
    }

    pub(crate) fn attempt(&self, id: &Id, outcome: &'static str) {
        let label = AttemptLabel {
            window: Label(id.window.clone()),
            subscription: Label(id.name.clone()),
            outcome,
        };
        self.attempts.get_or_create(&label).inc();
    }

    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "deliveries",
            "Deliveries of events by what came of them: done, again, rejected, gone, not-tried",
            self.attempts.clone(),
        );
        registry.register_collector(Box::new(self.clone()));
    }
}

/// Encodes one gauge for each label.
fn gauge<L: EncodeLabelSet>(
    name: &str,
    help: &str,
    values: Vec<(L, i64)>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (label, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}

impl Collector for EventsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(shared) = self.shared.lock().upgrade() else {
            return Ok(());
        };
        let encoder = &mut encoder;
        let all: Vec<_> = shared
            .subscribers()
            .iter()
            .map(|one| (one.status(), one.is_lag_known()))
            .collect();
        let some = |of: fn(&hms_api::SubscriptionStatus) -> i64, known: bool| {
            let all = all.iter().filter(|(_, is_known)| *is_known || !known);
            let all = all.map(|(status, _)| {
                let label = NameLabel {
                    window: Label(status.window.clone()),
                    name: Label(status.name.clone()),
                };
                (label, of(status))
            });
            all.collect::<Vec<_>>()
        };
        let each = |of| some(of, false);
        // A lag that is too small would be worse than none.
        let known = |of| some(of, true);
        gauge(
            "subscription_lag",
            "Events that the subscription has not finished; absent while that is not known",
            known(|status| status.lag as i64),
            encoder,
        )?;
        gauge(
            "subscription_lag_seconds",
            "Age of the oldest event that the subscription knows of and has not finished",
            known(|status| status.lag_seconds as i64),
            encoder,
        )?;
        gauge(
            "subscription_in_flight",
            "Deliveries of the subscription in flight",
            each(|status| status.in_flight as i64),
            encoder,
        )?;
        gauge(
            "subscription_blocked_keys",
            "Keys whose events wait for one that is tried again or was parked",
            each(|status| status.blocked_keys as i64),
            encoder,
        )?;
        gauge(
            "subscription_parked",
            "Parked events of the subscription",
            each(|status| status.parked as i64),
            encoder,
        )?;
        gauge(
            "subscription_paused",
            "1 if the subscription is paused",
            each(|status| i64::from(status.paused.is_some())),
            encoder,
        )?;
        let logs = shared.logs.all();
        let of_logs = |of: fn(&crate::logs::Log) -> u64| {
            let logs = logs
                .iter()
                .filter(|(_, log)| log.seen)
                .map(|(window, log)| {
                    let window = Label(window.clone());
                    (WindowLabel { window }, of(log) as i64)
                });
            logs.collect::<Vec<_>>()
        };
        gauge(
            "outbox_bytes",
            "Bytes of the window's log of events and of what waits for its time",
            of_logs(|log| log.bytes),
            encoder,
        )?;
        gauge(
            "timers_waiting",
            "Events of the window that wait for their time",
            of_logs(|log| log.waiting),
            encoder,
        )?;
        let now = shared.now_ms();
        let next = shared.schedules.each(|id, _, spec| {
            let delay = spec.delay_ms(&id.window);
            let next = spec.next_after(now.saturating_sub(delay));
            let next = next.map_or(0, |next| next.saturating_add(delay) / 1_000);
            let label = NameLabel {
                window: Label(id.window.clone()),
                name: Label(id.name.clone()),
            };
            (label, next as i64)
        });
        gauge(
            "schedule_next_run_seconds",
            "Unix time of the next run of the schedule; 0: it never comes again",
            next,
            encoder,
        )?;
        let left_out = shared.schedules.each(|id, known, _| {
            let label = NameLabel {
                window: Label(id.window.clone()),
                name: Label(id.name.clone()),
            };
            (label, known.record.left_out as i64)
        });
        gauge(
            "schedule_left_out",
            "Runs of the schedule that were left out since it was declared: missed, or the one before \
             was not over",
            left_out,
            encoder,
        )?;
        let taken = shared.places.taken() as i64;
        let family = encoder.encode_descriptor(
            "deliveries_in_flight",
            "Deliveries in flight in the host",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(taken).encode(family)
    }
}
