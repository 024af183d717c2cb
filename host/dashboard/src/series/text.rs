//! Reads what the plots need from the OpenMetrics text.

use std::collections::BTreeMap;

/// Counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) requests: f64,
    /// Those that were answered with a 5xx status.
    pub(crate) failures: f64,
    /// How many took at most so many seconds, by the bound, ascending. The last is infinite.
    pub(crate) buckets: Vec<(f64, f64)>,
}

impl Counts {
    fn answered(&mut self, status: &str, count: f64) {
        self.requests += count;
        if !["1xx", "2xx", "3xx", "4xx"].contains(&status) {
            self.failures += count;
        }
    }

    fn took(&mut self, bound: &str, count: f64) {
        let bound = match bound {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().unwrap_or(f64::INFINITY),
        };
        match self
            .buckets
            .binary_search_by(|(other, _)| other.total_cmp(&bound))
        {
            Ok(at) => {
                if let Some((_, sum)) = self.buckets.get_mut(at) {
                    *sum += count;
                }
            }
            Err(at) => self.buckets.insert(at, (bound, count)),
        }
    }
}

/// What is measured of a window now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Gauges {
    /// Bytes in its store.
    pub(crate) store_bytes: Option<u64>,
    /// Instances at work.
    pub(crate) instances: Option<u64>,
}

/// All that one exposition says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) host: Counts,
    pub(crate) windows: BTreeMap<String, Counts>,
    pub(crate) gauges: BTreeMap<String, Gauges>,
}

impl Reading {
    pub(crate) fn of(text: &str) -> Reading {
        let mut reading = Reading::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(sample) = Sample::of(line) {
                reading.take(&sample);
            }
        }
        reading
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let value = sample.value;
        let window = || sample.label("window").map(str::to_owned);
        match sample.name {
            "hms_gateway_requests_total" => {
                self.host
                    .answered(sample.label("status").unwrap_or(""), value);
            }
            "hms_gateway_request_duration_seconds_bucket" => {
                self.host.took(sample.label("le").unwrap_or(""), value);
            }
            // Every window has this one, whether or not it was asked for anything.
            "hms_window_live_release" => {
                self.windows
                    .entry(window().unwrap_or_default())
                    .or_default();
            }
            "hms_window_requests_total" => {
                let counts = self
                    .windows
                    .entry(window().unwrap_or_default())
                    .or_default();
                counts.answered(sample.label("status").unwrap_or(""), value);
            }
            "hms_window_request_duration_seconds_bucket" => {
                let counts = self
                    .windows
                    .entry(window().unwrap_or_default())
                    .or_default();
                counts.took(sample.label("le").unwrap_or(""), value);
            }
            "hms_window_store_bytes" => self.gauge(sample).store_bytes = Some(value as u64),
            "hms_window_instances" => self.gauge(sample).instances = Some(value as u64),
            _ => {}
        }
    }

    fn gauge(&mut self, sample: &Sample<'_>) -> &mut Gauges {
        let window = sample.label("window").unwrap_or_default().to_owned();
        self.gauges.entry(window).or_default()
    }
}

/// A line of the exposition: `name{label="value",…} value`, and what may follow.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (name, rest) = match line.split_once('{') {
            Some((name, rest)) if !name.contains(' ') => (name, Some(rest)),
            _ => line.split_once(' ').map(|(name, _)| (name, None))?,
        };
        let (labels, value) = match rest {
            None => ("", line.get(name.len()..)?),
            Some(rest) => {
                let end = closing(rest)?;
                (rest.get(..end)?, rest.get(end + 1..)?)
            }
        };
        let value = value.split_whitespace().next()?.parse().ok()?;
        Some(Sample {
            name,
            labels,
            value,
        })
    }

    /// Our labels are names and statuses, which have nothing to escape.
    fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (key, behind) = rest.split_once("=\"")?;
            let end = quote(behind)?;
            if key.trim_start_matches(',') == name {
                return behind.get(..end);
            }
            rest = behind.get(end + 1..)?;
        }
    }
}

/// Where the labels end: the first brace outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let is_end = byte == b'}' && !quoted;
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = byte == b'\\' && !escaped;
        is_end
    })
}

/// Where a quoted value ends.
fn quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_host_and_of_windows_are_read() {
        let reading = Reading::of(
            "# HELP hms_gateway_requests Requests\n\
             hms_gateway_requests_total{route=\"pay\",status=\"2xx\"} 7\n\
             hms_gateway_requests_total{route=\"a}\\\"b\",status=\"5xx\"} 2 # {trace_id=\"1\"} 0.1\n\
             hms_gateway_request_duration_seconds_bucket{le=\"0.1\",route=\"pay\"} 5\n\
             hms_gateway_request_duration_seconds_bucket{le=\"+Inf\",route=\"pay\"} 7\n\
             hms_gateway_request_duration_seconds_bucket{le=\"0.1\",route=\"b\"} 2\n\
             hms_window_live_release{window=\"quiet\"} 1\n\
             hms_window_requests_total{window=\"pay\",release=\"1\",status=\"2xx\"} 3\n\
             hms_window_requests_total{window=\"pay\",release=\"2\",status=\"5xx\"} 1\n\
             hms_window_store_bytes{window=\"pay\"} 4096\n\
             hms_reserve 1\n",
        );
        assert_eq!((reading.host.requests, reading.host.failures), (9.0, 2.0));
        assert_eq!(reading.host.buckets, [(0.1, 7.0), (f64::INFINITY, 7.0)]);
        assert_eq!(reading.windows["quiet"], Counts::default());
        let pay = &reading.windows["pay"];
        assert_eq!((pay.requests, pay.failures), (4.0, 1.0));
        assert_eq!(reading.gauges["pay"].store_bytes, Some(4096));
    }

    #[test]
    fn malformed_lines_are_left_out() {
        for line in [
            "",
            "x",
            "x{",
            "x{a=\"b",
            "x{a=\"b\"}",
            "x{a=\"b\"} y",
            "{} 1",
        ] {
            let _ = Reading::of(line);
        }
    }
}
