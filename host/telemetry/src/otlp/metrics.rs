//! The metrics of the host for a collector: the text of `/metrics`, translated. So there is one
//! registry, and both ways say the same.

use super::proto::{
    Data, Exemplar, Gauge, Histogram, HistogramPoint, KeyValue, Metric, MetricsRequest,
    NumberPoint, Resource, ResourceMetrics, Scope, ScopeMetrics, Sum, Temporality,
};
use crate::openmetrics::{self, Sample, sample};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One request with all metrics in `text`, which is OpenMetrics as the host writes it. `since` is
/// when its counters began.
pub(super) fn request(
    resource: &[KeyValue],
    text: &str,
    since: SystemTime,
    now: SystemTime,
) -> MetricsRequest {
    let times = Times {
        since: nanos(since),
        now: nanos(now),
    };
    MetricsRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: resource.to_vec(),
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(Scope::host()),
                metrics: metrics(text, times),
            }],
        }],
    }
}

#[derive(Clone, Copy)]
struct Times {
    since: u64,
    now: u64,
}

/// What is being read: everything up to the next `# TYPE` is of one family.
#[derive(Default)]
struct FamilyText {
    name: String,
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

fn metrics(text: &str, times: Times) -> Vec<Metric> {
    let mut families: Vec<FamilyText> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (Some(what), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            if families.last().is_none_or(|family| family.name != name) {
                families.push(FamilyText {
                    name: name.to_owned(),
                    ..FamilyText::default()
                });
            }
            if let (Some(family), Some(said)) = (families.last_mut(), words.next()) {
                match what {
                    "HELP" => family.help = said.trim_end_matches('.').to_owned(),
                    "TYPE" => family.kind = said.to_owned(),
                    _ => {}
                }
            }
        } else if let (Some(family), Some(sample)) = (families.last_mut(), sample(line)) {
            family.samples.push(sample);
        }
    }
    let metrics = families
        .into_iter()
        .filter_map(|family| metric(family, times));
    metrics.collect()
}

fn metric(family: FamilyText, times: Times) -> Option<Metric> {
    let cumulative = Temporality::Cumulative.into();
    let data = match family.kind.as_str() {
        "counter" => Data::Sum(Sum {
            data_points: numbers(&family.samples, times),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        "histogram" => Data::Histogram(Histogram {
            data_points: histograms(&family, times),
            aggregation_temporality: cumulative,
        }),
        _ => Data::Gauge(Gauge {
            data_points: numbers(&family.samples, times),
        }),
    };
    if family.samples.is_empty() {
        return None;
    }
    let unit = if family.name.ends_with("_seconds") {
        "s"
    } else if family.name.ends_with("_bytes") {
        "By"
    } else {
        ""
    };
    Some(Metric {
        name: family.name,
        description: family.help,
        unit: unit.into(),
        data: Some(data),
    })
}

fn numbers(samples: &[Sample], times: Times) -> Vec<NumberPoint> {
    let points = samples.iter().map(|sample| NumberPoint {
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        as_double: Some(sample.value),
        attributes: attributes(&sample.labels),
    });
    points.collect()
}

/// The points of a histogram: lines with the same labels, `le` aside.
fn histograms(family: &FamilyText, times: Times) -> Vec<HistogramPoint> {
    let mut points: BTreeMap<Vec<(String, String)>, HistogramPoint> = BTreeMap::new();
    for sample in &family.samples {
        let part = sample.name.strip_prefix(&family.name).unwrap_or_default();
        let mut labels = sample.labels.clone();
        let bound = labels.iter().position(|(name, _)| name == "le");
        let bound = bound.map(|at| labels.remove(at).1);
        let point = points
            .entry(labels)
            .or_insert_with_key(|labels| HistogramPoint {
                start_time_unix_nano: times.since,
                time_unix_nano: times.now,
                attributes: attributes(labels),
                ..HistogramPoint::default()
            });
        match (part, bound) {
            ("_sum", _) => point.sum = Some(sample.value),
            ("_count", _) => point.count = sample.value as u64,
            ("_bucket", Some(bound)) => {
                let below: u64 = point.bucket_counts.iter().sum();
                let here = (sample.value as u64).saturating_sub(below);
                point.bucket_counts.push(here);
                point.exemplars.extend(sample.exemplar.map(exemplar));
                if let Ok(bound) = bound.parse::<f64>()
                    && bound.is_finite()
                {
                    point.explicit_bounds.push(bound);
                }
            }
            _ => {}
        }
    }
    points.into_values().collect()
}

fn exemplar(exemplar: openmetrics::Exemplar) -> Exemplar {
    let at = exemplar.at.map(Duration::try_from_secs_f64);
    let at = at.and_then(Result::ok).unwrap_or_default();
    Exemplar {
        time_unix_nano: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
        as_double: Some(exemplar.value),
        trace_id: exemplar.trace_id.0.to_be_bytes().to_vec(),
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    let pairs = labels
        .iter()
        .map(|(name, value)| KeyValue::text(name, value));
    pairs.collect()
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP hms_requests Requests answered.
# TYPE hms_requests counter
hms_requests_total{route=\"a \\\"b\\\", {c}\",status=\"2xx\"} 3
hms_requests_total{route=\"-\",status=\"5xx\"} 1
# HELP hms_seconds How long.
# TYPE hms_seconds histogram
hms_seconds_sum{route=\"a\"} 1.5
hms_seconds_count{route=\"a\"} 4
hms_seconds_bucket{le=\"0.1\",route=\"a\"} 1
hms_seconds_bucket{le=\"1.0\",route=\"a\"} 3 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.7 5.5
hms_seconds_bucket{le=\"+Inf\",route=\"a\"} 4
# HELP hms_open Open.
# TYPE hms_open gauge
hms_open 2
# HELP hms_none None.
# TYPE hms_none gauge
# EOF
";

    #[test]
    fn text_of_metrics_becomes_points_with_their_labels() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(9);
        let request = request(&[], TEXT, UNIX_EPOCH, now);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let names: Vec<&str> = metrics.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["hms_requests", "hms_seconds", "hms_open"]);
        let Some(Data::Sum(sum)) = &metrics[0].data else {
            panic!("{:?}", metrics[0]);
        };
        assert!(sum.is_monotonic && sum.data_points.len() == 2);
        let route = KeyValue::text("route", "a \"b\", {c}");
        assert_eq!(sum.data_points[0].attributes[0], route);
        let Some(Data::Histogram(histogram)) = &metrics[1].data else {
            panic!("{:?}", metrics[1]);
        };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!(point.explicit_bounds, [0.1, 1.0]);
        assert_eq!((point.count, point.sum), (4, Some(1.5)));
        assert_eq!(point.attributes, [KeyValue::text("route", "a")]);
        assert_eq!(metrics[1].unit, "s");
        let exemplar = Exemplar {
            time_unix_nano: 5_500_000_000,
            as_double: Some(0.7),
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128
                .to_be_bytes()
                .to_vec(),
        };
        assert_eq!(point.exemplars, [exemplar]);
    }
}
