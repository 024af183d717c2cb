//! What telemetry costs: requests a second, p99 and processor time a request, with telemetry off,
//! at 1 % and at 100 % of the traces, with a collector that is gone, and with the dashboard open
//! on three tabs. See `benches/README.md`.
//!
//! All hosts run at the same time and are measured in turn, so that each figure has its baseline
//! from the same minute. [`hosts`] starts them, [`sink`] is the collector, [`tabs`] are the tabs.
//! Loopback only; it ends only what it started. The exit status is 1 where a mark was not reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

mod hosts;
mod sink;
mod tabs;

use clap::Parser;
use hms_harness::guests;
use hms_harness::pairs::median;
use hms_harness::process::cpu;
use hms_harness::wrk::Figure;
use hosts::Host;
use sink::Sink;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tabs::Tabs;

/// Tabs of the dashboard.
const TABS: usize = 3;

/// Measures what telemetry costs.
#[derive(Parser)]
#[command(name = "telemetry")]
struct Args {
    /// Seconds of each measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measurements of each, in turn
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// The program of a version before telemetry, which "off" is compared with
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// What HMS_LOG is: "info" has the access log, which goes to the collector too
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Before,
    Off,
    OnePercent,
    All,
    Dead,
    Tabs,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Before => "before",
            Mode::Off => "off",
            Mode::OnePercent => "1 % of the traces",
            Mode::All => "100 % of the traces",
            Mode::Dead => "100 %, no collector there",
            Mode::Tabs => "off, dashboard on 3 tabs",
        }
    }

    /// The least that its requests a second may be of those with telemetry off.
    fn mark(self) -> Option<f64> {
        match self {
            // "Off" against it, which is the same the other way round.
            Mode::Before | Mode::Off => None,
            Mode::OnePercent => Some(0.98),
            Mode::All | Mode::Dead | Mode::Tabs => Some(0.88),
        }
    }
}

/// "Off" is at least so much of a version before.
const OF_BEFORE: f64 = 0.99;

/// One measurement.
#[derive(Clone, Copy)]
struct Measured {
    figure: Figure,
    /// Processor time of the host for a request, in microseconds.
    cpu_us: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let guest = guests::path("hello-wasip3").await;
    let sink = Sink::start().await;
    let endpoint = format!("http://{}", sink.addr());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let share = |endpoint, share| {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", share),
        ]
    };
    let mut modes = Vec::new();
    if let Some(before) = &args.before {
        modes.push((Mode::Before, Host::start(before, &args.log, &[], &guest)));
    }
    let ours = hms_harness::hms();
    let start = |envs: &[(&str, &str)]| Host::start(&ours, &args.log, envs, &guest);
    modes.push((Mode::Off, start(&[])));
    modes.push((Mode::OnePercent, start(&share(endpoint.as_str(), "0.01"))));
    modes.push((Mode::All, start(&share(endpoint.as_str(), "1"))));
    modes.push((Mode::Dead, start(&share(dead.as_str(), "1"))));
    modes.push((Mode::Tabs, start(&[])));

    let time = Duration::from_secs(args.seconds);
    for (_, host) in &modes {
        host.load().run(Duration::from_secs(1)).unwrap();
    }
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        let mut measured = Vec::new();
        for (mode, host) in &modes {
            let tabs = match mode {
                Mode::Tabs => Some(Tabs::open(host, TABS).await),
                _ => None,
            };
            measured.push(measure(host, time).await);
            if let Some(tabs) = tabs {
                assert!(tabs.close() > 0, "nothing came to the tabs");
            }
        }
        rounds.push(measured);
    }
    let reached = tell(&modes, &rounds);
    println!("the collector was sent {} MiB", sink.bytes() >> 20);
    match reached {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Not on a thread of the runtime: the collector and the tabs need those.
async fn measure(host: &Host, time: Duration) -> Measured {
    let (load, pid) = (host.load(), host.id());
    let measured = tokio::task::spawn_blocking(move || {
        let before = cpu(pid).own;
        let figure = load.run(time).unwrap();
        let requests = figure.per_second * time.as_secs_f64();
        Measured {
            figure,
            cpu_us: (cpu(pid).own - before) / requests * 1e6,
        }
    });
    measured.await.unwrap()
}

/// Prints the table. Whether all marks were reached.
fn tell(modes: &[(Mode, Host)], rounds: &[Vec<Measured>]) -> bool {
    let off = modes.iter().position(|(mode, _)| *mode == Mode::Off);
    let off = off.unwrap();
    let mut reached = true;
    println!(
        "| telemetry | requests/s | p99 ms | CPU a request | requests/s of off | p99 of off | mark | |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (at, (mode, _)) in modes.iter().enumerate() {
        let middle = |of: fn(&Measured) -> f64| median(rounds.iter().map(|it| of(&it[at])));
        let of_off =
            |of: fn(&Measured) -> f64| median(rounds.iter().map(|it| of(&it[at]) / of(&it[off])));
        let ratio = of_off(|it| it.figure.per_second);
        let p99 = of_off(|it| it.figure.p99_ms);
        let (mark, holds) = match mode {
            Mode::Before => (Some(1.0 / OF_BEFORE), ratio <= 1.0 / OF_BEFORE),
            mode => (mode.mark(), mode.mark().is_none_or(|mark| ratio >= mark)),
        };
        reached &= holds;
        println!(
            "| {} | {:.0} | {:.2} | {:.1} us | {ratio:.3} | {p99:.2} | {} | {} |",
            mode.name(),
            middle(|it| it.figure.per_second),
            middle(|it| it.figure.p99_ms),
            middle(|it| it.cpu_us),
            mark.map_or("–".into(), |mark| format!("{mark:.2}")),
            match (mark, holds) {
                (None, _) => "",
                (_, true) => "reached",
                (_, false) => "**not reached**",
            }
        );
        let failed: u64 = rounds.iter().map(|it| it[at].figure.failed).sum();
        if failed > 0 {
            println!("\n{}: FAILED requests: {failed}\n", mode.name());
            reached = false;
        }
    }
    reached
}
