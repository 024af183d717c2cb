//! `hms top`: the windows live, as `top` shows processes.
//!
//! What is shown is what the metrics say of the time since the last look: so it is the same as on a
//! dashboard.

use super::HostArgs;
use super::client::Client;
use super::show::{canary, dash, text};
use anyhow::ensure;
use clap::{Args, ValueEnum};
use hms_api::WindowList;
use hms_core::units::{Size, Time};
use hms_telemetry::openmetrics::{Sample, sample};
use hms_telemetry::print_json;
use http::Method;
use http_body_util::BodyExt;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::time::Instant;
use tokio::sync::mpsc;

/// Show the windows live. Keys: s sorts by the next column, q ends.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Print one table, of the time --every, and end
    #[arg(long)]
    once: bool,
    /// Print JSON, one object a look; with --once a single one
    #[arg(long)]
    json: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Time,
    /// The column to sort by
    #[arg(long, value_name = "COLUMN", default_value = "rate")]
    sort: Sort,
    #[command(flatten)]
    host: HostArgs,
}

/// What the table is sorted by; all but the name from the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Rate,
    Errors,
    P99,
    Instances,
    Queue,
    Store,
    Name,
}

impl Sort {
    fn next(self) -> Sort {
        let all = Sort::value_variants();
        let at = all.iter().position(|sort| *sort == self).unwrap_or(0);
        all.get((at + 1) % all.len()).copied().unwrap_or(Sort::Rate)
    }
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    window: String,
    state: String,
    release: u64,
    /// Requests a second.
    rate: f64,
    /// Share of 5xx among them, from 0 to 1.
    errors: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    instances: u64,
    instances_limit: u64,
    queued: usize,
    /// None while the store is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_bytes: Option<u64>,
    store_limit_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<String>,
}

impl Top {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        ensure!(!self.every.is_zero(), "--every must be greater than zero");
        let client = self.host.client()?;
        let mut before = Look::take(&client).await?;
        let people = stdin().is_terminal() && stdout().is_terminal();
        let live = !self.once && !self.json && people;
        let _terminal = live.then(Terminal::quiet);
        let mut keys = live.then(keys);
        let mut sort = self.sort;
        loop {
            let rows = loop {
                tokio::select! {
                    () = tokio::time::sleep(self.every.duration()) => {
                        let now = Look::take(&client).await?;
                        let rows = now.rows(&before);
                        before = now;
                        break rows;
                    }
                    key = next(&mut keys) => match key {
                        Some(b'q' | 3) => return Ok(()),
                        Some(b's') => sort = sort.next(),
                        Some(_) => {}
                        // The terminal is gone.
                        None => return Ok(()),
                    }
                }
            };
            let rows = sorted(rows, sort);
            if self.json {
                match self.once {
                    true => print_json(&serde_json::json!({ "windows": rows })),
                    false => say!("{}", serde_json::json!({ "windows": rows })),
                }
            } else {
                let screen = screen(&rows, sort, live.then(height).flatten());
                match live {
                    // From the upper left corner; what was below is cleared.
                    true => write!(stdout(), "\x1b[H\x1b[J{screen}")?,
                    false => say!("{}", screen.trim_end()),
                }
                stdout().flush()?;
            }
            if self.once {
                return Ok(());
            }
        }
    }
}

/// What the host says at one moment.
struct Look {
    at: Instant,
    windows: WindowList,
    samples: Vec<Sample>,
}

impl Look {
    async fn take(client: &Client) -> anyhow::Result<Look> {
        let windows = client.call(Method::GET, "/windows").await?.read()?;
        let body = hms_core::body::empty();
        let metrics = client.send(Method::GET, "/metrics", &[], body).await?;
        let text = metrics.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        Ok(Look {
            at: Instant::now(),
            windows,
            samples: text.lines().filter_map(sample).collect(),
        })
    }

    /// The samples of that name of one window.
    fn of<'a>(&'a self, name: &'a str, window: &'a str) -> impl Iterator<Item = &'a Sample> {
        let all = self.samples.iter();
        all.filter(move |it| it.name == name && it.label("window") == Some(window))
    }

    /// None where the host says nothing of it.
    fn value(&self, name: &str, window: &str) -> Option<u64> {
        self.of(name, window)
            .map(|it| it.value as u64)
            .reduce(|sum, value| sum + value)
    }

    fn rows(&self, before: &Look) -> Vec<Row> {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let windows = self.windows.windows.iter().map(|status| {
            let name = status.name.as_str();
            let requests = "hms_window_requests_total";
            let failed = |look: &Look| -> f64 {
                let all = look.of(requests, name);
                let failed = all.filter(|it| it.label("status") == Some("5xx"));
                failed.map(|it| it.value).sum()
            };
            let all = |look: &Look| look.of(requests, name).map(|it| it.value).sum::<f64>();
            let (count, failures) = (
                (all(self) - all(before)).max(0.0),
                (failed(self) - failed(before)).max(0.0),
            );
            let buckets = buckets(self, before, name);
            Row {
                window: name.to_owned(),
                state: status.state.to_string(),
                release: status.live.as_ref().map_or(0, |live| live.number),
                rate: count / seconds,
                errors: if count > 0.0 { failures / count } else { 0.0 },
                p50_ms: quantile(&buckets, 0.5),
                p99_ms: quantile(&buckets, 0.99),
                instances: self.value("hms_window_instances", name).unwrap_or(0),
                instances_limit: self.value("hms_window_instances_limit", name).unwrap_or(0),
                queued: status.queued,
                store_bytes: self.value("hms_window_store_bytes", name),
                store_limit_bytes: self
                    .value("hms_window_store_limit_bytes", name)
                    .unwrap_or(0),
                canary: status.canary.as_ref().map(canary),
            }
        });
        windows.collect()
    }
}

/// Requests of a window between two looks by their durations: upper bound in ms, and how many took
/// no longer.
fn buckets(now: &Look, before: &Look, window: &str) -> Vec<(f64, f64)> {
    let name = "hms_window_request_duration_seconds_bucket";
    let mut sums: HashMap<String, (f64, f64)> = HashMap::new();
    for (look, sign) in [(now, 1.0), (before, -1.0)] {
        for sample in look.of(name, window) {
            let Some(bound) = sample.label("le") else {
                continue;
            };
            let ms = bound.parse::<f64>().unwrap_or(f64::INFINITY) * 1000.0;
            let sum = sums.entry(bound.to_owned()).or_insert((ms, 0.0));
            sum.1 += sign * sample.value;
        }
    }
    let mut buckets: Vec<(f64, f64)> = sums.into_values().collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

/// As `histogram_quantile` of Prometheus: within its bucket, requests are taken to be spread
/// evenly.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let (_, all) = *buckets.last()?;
    if all <= 0.0 {
        return None;
    }
    let rank = share * all;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            if bound.is_infinite() || *count <= below {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * (rank - below) / (count - below));
        }
        (lower, below) = (*bound, *count);
    }
    None
}

fn sorted(mut rows: Vec<Row>, sort: Sort) -> Vec<Row> {
    rows.sort_by(|a, b| a.window.cmp(&b.window));
    match sort {
        Sort::Name => {}
        Sort::Rate => rows.sort_by(|a, b| b.rate.total_cmp(&a.rate)),
        Sort::Errors => rows.sort_by(|a, b| b.errors.total_cmp(&a.errors)),
        Sort::P99 => {
            let p99 = |row: &Row| row.p99_ms.unwrap_or(0.0);
            rows.sort_by(|a, b| p99(b).total_cmp(&p99(a)));
        }
        Sort::Instances => rows.sort_by_key(|row| Reverse(row.instances)),
        Sort::Queue => rows.sort_by_key(|row| Reverse(row.queued)),
        Sort::Store => rows.sort_by_key(|row| Reverse(row.store_bytes)),
    }
    rows
}

/// The table, at most `height` lines.
fn screen(rows: &[Row], sort: Sort, height: Option<usize>) -> String {
    let head = [
        "WINDOW",
        "STATE",
        "RELEASE",
        "REQ/S",
        "5XX",
        "P50",
        "P99",
        "INSTANCES",
        "QUEUE",
        "STORE",
        "CANARY",
    ];
    let cells = rows.iter().map(|row| {
        let ms = |ms: Option<f64>| ms.map_or_else(dash, |ms| format!("{ms:.1} ms"));
        let size = |bytes| Size::of(bytes).rounded();
        [
            text(&row.window),
            text(&row.state),
            row.release.to_string(),
            format!("{:.1}", row.rate),
            format!("{:.1}%", row.errors * 100.0),
            ms(row.p50_ms),
            ms(row.p99_ms),
            format!("{}/{}", row.instances, row.instances_limit),
            row.queued.to_string(),
            format!(
                "{}/{}",
                row.store_bytes.map_or_else(dash, size),
                size(row.store_limit_bytes)
            ),
            row.canary.as_deref().map_or_else(dash, text),
        ]
    });
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(cells);
    let mut widths = [0; 11];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = lines.iter().map(|line| {
        let padded = line.iter().zip(widths);
        let padded = padded.map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let most = height.map_or(usize::MAX, |height| height.saturating_sub(2).max(1));
    let shown: Vec<String> = lines.take(most).collect();
    let mut screen = shown.join("\n");
    screen.push('\n');
    if height.is_some() {
        let sort = sort.to_possible_value();
        let sort = sort.as_ref().map_or("", |sort| sort.get_name());
        screen.push_str(&format!("sorted by {sort}: s next column, q quit"));
    }
    screen
}

fn height() -> Option<usize> {
    let size = tcgetwinsize(stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}

/// A terminal that gives each key at once and shows none of them, until this is dropped.
struct Terminal(Option<Termios>);

impl Terminal {
    fn quiet() -> Terminal {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            // Ctrl-C is a key too, so that the terminal is put back.
            quiet.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            let _ = tcsetattr(stdin(), OptionalActions::Now, &quiet);
        }
        Terminal(before)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
        let _ = writeln!(stdout());
    }
}

/// The keys that are pressed. Its thread ends with the process: a read of a terminal cannot be
/// given up.
fn keys() -> mpsc::Receiver<u8> {
    let (tell, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        for key in stdin().lock().bytes().map_while(Result::ok) {
            if tell.blocking_send(key).is_err() {
                break;
            }
        }
    });
    keys
}

/// The next key; never, where there is no terminal.
async fn next(keys: &mut Option<mpsc::Receiver<u8>>) -> Option<u8> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_lies_within_the_bucket_of_its_rank() {
        let buckets = [
            (1.0, 0.0),
            (5.0, 50.0),
            (10.0, 100.0),
            (f64::INFINITY, 100.0),
        ];
        assert_eq!(quantile(&buckets, 0.5), Some(5.0));
        assert_eq!(quantile(&buckets, 0.75), Some(7.5));
        let late = [(1.0, 0.0), (f64::INFINITY, 10.0)];
        assert_eq!(quantile(&late, 0.99), Some(1.0));
        assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    fn row(window: &str, rate: f64, queued: usize) -> Row {
        Row {
            window: window.into(),
            state: "open".into(),
            release: 1,
            rate,
            errors: 0.0,
            p50_ms: None,
            p99_ms: Some(2.5),
            instances: 1,
            instances_limit: 8,
            queued,
            store_bytes: Some(1024),
            store_limit_bytes: 2048,
            canary: None,
        }
    }

    #[test]
    fn table_is_sorted_by_its_column_and_fits_the_terminal() {
        let rows = vec![row("a", 1.0, 9), row("b", 7.0, 0)];
        let by_rate = sorted(rows.clone(), Sort::Rate);
        assert_eq!(by_rate[0].window, "b");
        assert_eq!(sorted(rows, Sort::Queue)[0].window, "a");
        let shown = screen(&by_rate, Sort::Rate, Some(4));
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(
            shown.contains("7.0") && shown.ends_with("q quit"),
            "{shown}"
        );
        let all = screen(&by_rate, Sort::Rate, None);
        assert!(all.contains("2.5 ms") && all.lines().count() == 3, "{all}");
    }

    #[test]
    fn store_that_is_not_open_has_no_size_and_comes_last() {
        let closed = Row {
            store_bytes: None,
            ..row("a", 1.0, 0)
        };
        let empty = Row {
            store_bytes: Some(0),
            ..row("b", 1.0, 0)
        };
        let rows = sorted(vec![closed, empty], Sort::Store);
        let shown = screen(&rows, Sort::Store, None);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].contains("0 B/2.0 KiB"), "{shown}");
        assert!(lines[2].contains("-/2.0 KiB"), "{shown}");
        let json = serde_json::to_value(&rows[1]).unwrap();
        assert_eq!(json.get("store_bytes"), None);
    }

    #[test]
    fn sort_key_comes_round() {
        let mut sort = Sort::Rate;
        for _ in Sort::value_variants() {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::Rate);
    }
}
