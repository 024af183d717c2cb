//! HMS-SVC against what people would use instead, at the same work on the same machine. See
//! `benches/README.md`.
//!
//! Each row is measured in turn with its baseline ([`hms_harness::pairs`]), by wrk
//! ([`hms_harness::wrk`]). `ours` starts the host, `peers` what is compared with; `rows` has the
//! work; `table` and `plot` show it. Loopback only; it ends only what it started.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench, which ends by a panic"
)]

mod ours;
mod peers;
mod plot;
mod rows;
mod scripts;
mod table;

use clap::Parser;
use rows::hello::Guests;
use rows::{Settings, docs, hello, outgoing, payments, plugins, proxy, site, windows};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use table::{Row, markdown};

/// Compares the host with what people would use instead.
#[derive(Parser)]
#[command(name = "compare")]
struct Args {
    /// Seconds of each measurement
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measurements of each, in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Only these rows, as 1,2,12
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    rows: Vec<u32>,
    /// The wasmtime to compare with, version 48
    #[arg(long, value_name = "PROGRAM", default_value = "wasmtime")]
    wasmtime: String,
    /// Payments stored for row 7
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    payments: u32,
    /// Windows of row 10
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    windows: u32,
    /// Where table and plot are written
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    out: PathBuf,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all marks were reached.
async fn run(args: &Args) -> anyhow::Result<bool> {
    let settings = Settings {
        time: Duration::from_secs(args.seconds),
        pairs: args.pairs as usize,
        wasmtime: args.wasmtime.clone(),
        payments: args.payments,
        windows: args.windows,
    };
    let guests = Guests::build().await;
    let mut rows: Vec<Row> = Vec::new();
    let mut costs = None;
    for number in 1..=14 {
        if !args.rows.is_empty() && !args.rows.contains(&number) {
            continue;
        }
        eprintln!("row {number}");
        let found: anyhow::Result<Vec<Row>> = match number {
            1 => hello::fresh(&settings, &guests),
            2 => hello::reused(&settings, &guests).map(one),
            3 => hello::workerd(&settings, &guests).map(one),
            4 => hello::express(&settings, &guests).map(one),
            5 => payments::against_express(&settings).await.map(one),
            6 => payments::against_no_sync(&settings).await.map(one),
            7 => payments::among_many(&settings).await.map(one),
            8 => docs::run(&settings).await,
            9 => proxy::run(&settings).map(one),
            10 => windows::many(&settings, &guests),
            11 => windows::restart(&settings, &guests).map(one),
            12 => {
                costs = Some(plugins::table(&settings, &guests)?);
                Ok(Vec::new())
            }
            13 => outgoing::run(&settings).await,
            _ => site::run(&settings).await,
        };
        match found {
            Ok(found) => {
                eprint!("{}", markdown(&found));
                rows.extend(found);
            }
            // The others can still be measured.
            Err(error) => eprintln!("row {number} could not be measured: {error:#}"),
        }
    }
    let mut text = markdown(&rows);
    if let Some(costs) = &costs {
        text.push_str(&format!(
            "\n12: what each plugin costs, WASI 0.3, fresh instances\n\n{costs}"
        ));
    }
    println!("{text}");
    // Cargo runs a bench in the folder of its package.
    let out = hms_harness::root().join(&args.out);
    write(&out, "table.md", &text)?;
    write(&out, "ratios.svg", &plot::svg(&rows))?;
    Ok(rows.iter().all(Row::reached))
}

fn one(row: Row) -> Vec<Row> {
    vec![row]
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(name), text)?;
    eprintln!("written: {}", folder.join(name).display());
    Ok(())
}
