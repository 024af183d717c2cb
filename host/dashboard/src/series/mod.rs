//! Rates and latencies over the last minutes, of the host and of each window, from `/metrics`.
//!
//! Counters are read once a second while a live page is open, and every five seconds otherwise, so
//! that the plots of a page that was just opened are not empty. [`text`] reads the exposition,
//! [`ring`] turns two readings into a point.

mod ring;
mod text;

pub(crate) use ring::{Now, Point, Series};

use crate::api::Api;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use text::Reading;
use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior};

/// Between two readings while somebody looks.
const STEP: Duration = Duration::from_secs(1);

/// Of how many steps one is used while nobody looks: 5, a reading every 5 s.
const IDLE_STEPS: u32 = 5;

/// Windows whose rates are remembered, the first by name. 256: 900 points of each are 40 KiB, so
/// that all take at most 10 MiB.
const MAX_WINDOWS: usize = 256;

/// The series of the host and its windows.
#[derive(Default)]
pub(crate) struct AllSeries(Mutex<All>);

#[derive(Default)]
struct All {
    host: Series,
    windows: BTreeMap<String, Series>,
    gauges: BTreeMap<String, text::Gauges>,
}

/// What is measured of a window, beside rates.
pub(crate) use text::Gauges;

impl AllSeries {
    /// Reads the counters for ever.
    pub(crate) async fn sample(&self, api: Api, is_watched: impl Fn() -> bool) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for step in 0_u32.. {
            steps.tick().await;
            if !is_watched() && !step.is_multiple_of(IDLE_STEPS) {
                continue;
            }
            match api.text("/metrics").await {
                Ok(text) => self.add(&Reading::of(&text), Instant::now(), now()),
                Err(problem) => tracing::debug!(why = problem.detail, "dashboard: no metrics"),
            }
        }
    }

    fn add(&self, reading: &Reading, at: Instant, unix: f64) {
        let mut all = self.0.lock();
        all.host.add(&reading.host, at, unix);
        // What is no longer there was removed, or others come before it now.
        let kept: BTreeMap<_, _> = reading.windows.iter().take(MAX_WINDOWS).collect();
        all.windows.retain(|name, _| kept.contains_key(name));
        for (name, counts) in kept {
            let series = all.windows.entry(name.clone()).or_default();
            series.add(counts, at, unix);
        }
        all.gauges.clone_from(&reading.gauges);
    }

    /// The points of the host, or of a window, after a time in Unix seconds.
    pub(crate) fn points(&self, window: Option<&str>, after: f64) -> Vec<Point> {
        let all = self.0.lock();
        let series = match window {
            None => Some(&all.host),
            Some(name) => all.windows.get(name),
        };
        series.map_or_else(Vec::new, |series| series.after(after))
    }

    /// What the host does now.
    pub(crate) fn host_now(&self) -> Now {
        self.0.lock().host.now()
    }

    /// What each window does now, and what is measured of it.
    pub(crate) fn windows_now(&self) -> BTreeMap<String, (Now, Gauges)> {
        let all = self.0.lock();
        let names = all.windows.iter();
        names
            .map(|(name, series)| {
                let gauges = all.gauges.get(name).copied().unwrap_or_default();
                (name.clone(), (series.now(), gauges))
            })
            .collect()
    }
}

fn now() -> f64 {
    let now = OffsetDateTime::now_utc();
    now.unix_timestamp() as f64 + f64::from(now.millisecond()) / 1000.0
}
