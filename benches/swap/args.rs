//! What can be asked for.

use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Swaps one window again and again, and counts what its clients see.
#[derive(Parser)]
#[command(name = "swap")]
pub struct Args {
    /// Swaps of the window. 500; with --leak 1,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    swaps: Option<u32>,
    /// Requests a second. 100; with --leak 20
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// The least time for all swaps together; without it they follow each other at once
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    seconds: u64,
    /// Memory, files and mappings of the host over many swaps
    #[arg(long, conflicts_with = "upload")]
    leak: bool,
    /// The time from upload to live, by steps
    #[arg(long)]
    upload: bool,
    /// With --upload: another component that is measured beside payments; may be given again
    #[arg(long, value_name = "FILE", requires = "upload")]
    pub component: Vec<PathBuf>,
    /// Edit one route again and again instead; 1,000 times without a number
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000", conflicts_with_all = ["leak", "upload"], value_parser = clap::value_parser!(u32).range(60..=100_000))]
    reloads: Option<u32>,
    /// Given by cargo, of no meaning
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(PartialEq, Eq)]
pub enum Mode {
    Swaps,
    Leak,
    Upload,
    Reloads,
}

impl Args {
    pub fn mode(&self) -> Mode {
        match (self.leak, self.upload) {
            (true, _) => Mode::Leak,
            (_, true) => Mode::Upload,
            _ if self.reloads.is_some() => Mode::Reloads,
            _ => Mode::Swaps,
        }
    }

    pub fn swaps(&self) -> u32 {
        let usual = if self.leak { 1000 } else { 500 };
        self.swaps.unwrap_or(usual)
    }

    pub fn reloads(&self) -> u32 {
        self.reloads.unwrap_or_default()
    }

    pub fn rate(&self) -> u32 {
        let usual = match self.mode() {
            Mode::Leak => 20,
            Mode::Reloads => 40,
            Mode::Swaps | Mode::Upload => 100,
        };
        self.rate.unwrap_or(usual)
    }

    pub fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
