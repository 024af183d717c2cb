//! What is counted of the windows, read when somebody asks for the metrics.

use hms_api::WindowStatus;
use hms_core::limits::Limit;
use hms_core::printable::Label;
use hms_windows::{MeasuredWindow, Registry};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// Asks the windows.
pub(super) struct WindowCollector(pub(super) Arc<Registry>);

impl fmt::Debug for WindowCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(stringify!(WindowCollector))
    }
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OfWindow {
    window: Label,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OfRelease {
    window: Label,
    release: u64,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OfStatus {
    window: Label,
    release: u64,
    status: &'static str,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OfDigest {
    window: Label,
    release: u64,
    digest: Label,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OfSide {
    window: Label,
    side: &'static str,
}

/// Values of one metric with their labels.
type Values<L, V> = Vec<(L, V)>;

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: Values<L, f64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: Values<L, f64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn histograms<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: Values<L, &dyn EncodeMetric>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in values {
        histogram.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn of(window: &MeasuredWindow) -> OfWindow {
    OfWindow {
        window: Label(window.name.clone()),
    }
}

impl Collector for WindowCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let windows = self.0.measures();
        requests(&mut encoder, &windows)?;
        instances(&mut encoder, &windows)?;
        changes(&mut encoder, &windows)?;
        logs(&mut encoder, &windows)?;
        let statuses = self.0.statuses();
        limits(&mut encoder, &statuses)?;
        canaries(&mut encoder, &statuses)?;
        self.stores(&mut encoder)?;
        let used = windows.iter().map(|window| f64::from(window.places)).sum();
        let pool = f64::from(self.0.pool_size());
        gauge(
            &mut encoder,
            (
                "instances",
                "Places of the pool that instances take now, over all windows",
            ),
            used,
        )?;
        gauge(
            &mut encoder,
            (
                "instances_limit",
                "Places of the pool: the option --instances",
            ),
            pool,
        )
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    value: f64,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

fn requests(encoder: &mut DescriptorEncoder<'_>, windows: &[MeasuredWindow]) -> fmt::Result {
    let releases: Vec<_> = windows
        .iter()
        .flat_map(|window| {
            let releases = window.measures.releases().into_iter();
            releases.map(|release| (Label(window.name.clone()), release))
        })
        .collect();
    let requests = releases.iter().flat_map(|(window, release)| {
        release.requests().map(|(status, count)| {
            let labels = OfStatus {
                window: window.clone(),
                release: release.release(),
                status,
            };
            (labels, count as f64)
        })
    });
    counters(
        encoder,
        (
            "window_requests",
            "Requests that a window answered, by release and class of status",
        ),
        requests.collect(),
    )?;
    let durations = releases.iter().map(|(window, release)| {
        let labels = OfRelease {
            window: window.clone(),
            release: release.release(),
        };
        let histogram: &dyn EncodeMetric = release.duration.histogram();
        (labels, histogram)
    });
    histograms(
        encoder,
        (
            "window_request_duration_seconds",
            "From a request at the window to the last byte of its answer",
        ),
        durations.collect(),
    )?;
    let digests = releases.iter().map(|(window, release)| {
        let labels = OfDigest {
            window: window.clone(),
            release: release.release(),
            digest: Label(release.digest().to_owned()),
        };
        (labels, 1.0)
    });
    gauges(
        encoder,
        (
            "window_release_info",
            "The component of each release that is counted: always 1",
        ),
        digests.collect(),
    )?;
    let queues = windows.iter().map(|window| {
        let histogram: &dyn EncodeMetric = window.measures.queue.histogram();
        (of(window), histogram)
    });
    histograms(
        encoder,
        (
            "window_queue_seconds",
            "How long requests waited for a place among the instances of the window",
        ),
        queues.collect(),
    )?;
    let starts = windows.iter().map(|window| {
        let histogram: &dyn EncodeMetric = window.measures.start.histogram();
        (of(window), histogram)
    });
    histograms(
        encoder,
        (
            "window_instance_start_seconds",
            "From there until an instance had accepted the request",
        ),
        starts.collect(),
    )?;
    let commits = windows.iter().map(|window| {
        let histogram: &dyn EncodeMetric = window.usage.commits.histogram();
        (of(window), histogram)
    });
    histograms(
        encoder,
        (
            "window_commit_seconds",
            "How long writes of the window took to be durable",
        ),
        commits.collect(),
    )
}

fn instances(encoder: &mut DescriptorEncoder<'_>, windows: &[MeasuredWindow]) -> fmt::Result {
    let used = windows
        .iter()
        .map(|window| (of(window), f64::from(window.places)));
    gauges(
        encoder,
        (
            "window_instances",
            "Places of the pool that instances of the window take now",
        ),
        used.collect(),
    )?;
    let cpu = windows
        .iter()
        .map(|window| (of(window), window.usage.cpu().as_secs_f64()));
    counters(
        encoder,
        (
            "window_cpu_seconds",
            "CPU time of instances that have ended, sampled each millisecond",
        ),
        cpu.collect(),
    )?;
    let peak = windows
        .iter()
        .map(|window| (of(window), window.usage.memory_peak() as f64));
    gauges(
        encoder,
        (
            "window_memory_peak_bytes",
            "The most memory that one instance of the window had since the start of the host",
        ),
        peak.collect(),
    )
}

fn changes(encoder: &mut DescriptorEncoder<'_>, windows: &[MeasuredWindow]) -> fmt::Result {
    let swaps = windows
        .iter()
        .map(|window| (of(window), window.measures.swaps() as f64));
    counters(
        encoder,
        (
            "window_swaps",
            "Times that what serves at the window was swapped: by deploys, rollbacks, canaries, starts and stops",
        ),
        swaps.collect(),
    )?;
    let trips = windows
        .iter()
        .map(|window| (of(window), window.measures.trips() as f64));
    counters(
        encoder,
        (
            "window_trips",
            "Times that the breaker closed the window because its instances kept failing",
        ),
        trips.collect(),
    )
}

fn logs(encoder: &mut DescriptorEncoder<'_>, windows: &[MeasuredWindow]) -> fmt::Result {
    let left_out = windows
        .iter()
        .map(|window| (of(window), window.log_lines_left_out as f64));
    counters(
        encoder,
        (
            "window_log_lines_left_out",
            "Lines that the window wrote and that were left out of its log: more than its limit --log-rate in one second",
        ),
        left_out.collect(),
    )
}

fn limits(encoder: &mut DescriptorEncoder<'_>, statuses: &[WindowStatus]) -> fmt::Result {
    for (name, help, limit) in [
        (
            "window_instances_limit",
            "The most instances of the window: its limit --instances",
            Limit::Instances,
        ),
        (
            "window_store_limit_bytes",
            "The most that the store of the window may hold: its limit --store",
            Limit::StoreBytes,
        ),
    ] {
        let values = statuses.iter().map(|status| {
            let labels = OfWindow {
                window: Label(status.name.clone()),
            };
            let value = status.limits.get(limit.row().name).copied();
            (labels, value.unwrap_or(0) as f64)
        });
        gauges(encoder, (name, help), values.collect())?;
    }
    let draining = statuses.iter().map(|status| {
        let labels = OfWindow {
            window: Label(status.name.clone()),
        };
        let leases: usize = status.draining.iter().map(|drain| drain.leases).sum();
        (labels, leases as f64)
    });
    gauges(
        encoder,
        (
            "window_draining_leases",
            "Requests in flight on releases that were replaced",
        ),
        draining.collect(),
    )
}

fn canaries(encoder: &mut DescriptorEncoder<'_>, statuses: &[WindowStatus]) -> fmt::Result {
    let canaries = || {
        let statuses = statuses.iter();
        statuses.filter_map(|status| Some((&status.name, status.canary.as_ref()?)))
    };
    let shares = canaries().map(|(window, canary)| {
        let labels = OfWindow {
            window: Label(window.clone()),
        };
        let share = canary.share.trim_end_matches('%').parse::<f64>();
        (labels, share.unwrap_or(0.0) / 100.0)
    });
    gauges(
        encoder,
        (
            "window_canary_share",
            "Share of the traffic that the running canary has, from 0 to 1",
        ),
        shares.collect(),
    )?;
    for (name, help, failures) in [
        (
            "window_canary_requests",
            "Requests that the running canary was compared by, on each side",
            false,
        ),
        ("window_canary_failures", "Those of them that failed", true),
    ] {
        let sides = canaries().flat_map(|(window, canary)| {
            let sides = ["candidate", "live"]
                .into_iter()
                .zip([&canary.candidate, &canary.live]);
            sides.map(|(side, status)| {
                let labels = OfSide {
                    window: Label(window.clone()),
                    side,
                };
                let count = if failures {
                    status.failures
                } else {
                    status.requests
                };
                (labels, count as f64)
            })
        });
        gauges(encoder, (name, help), sides.collect())?;
    }
    Ok(())
}

impl WindowCollector {
    fn stores(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.store_stats();
        let bytes = stats.into_iter().map(|(window, stats)| {
            let labels = OfWindow {
                window: Label(window),
            };
            (labels, stats.stored_bytes as f64)
        });
        gauges(
            encoder,
            (
                "window_store_bytes",
                "What the open store of the window holds",
            ),
            bytes.collect(),
        )
    }
}
