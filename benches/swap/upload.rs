//! The time from upload to live, and where it goes: cold, when the host has never seen the
//! component, and warm, when it has its native code.

use super::args::Args;
use super::deploy::{Deploys, deploy};
use hms_harness::guests::variant;
use hms_harness::{Host, Options, window};

/// Runs of each, of which the median counts.
const RUNS: usize = 5;

/// Prints the times of the payments window and of the components that were named.
pub async fn run(args: &Args) -> bool {
    let mut components = vec![("payments".to_owned(), window("payments").await)];
    for file in &args.component {
        match std::fs::read(file) {
            Ok(bytes) => components.push((file.display().to_string(), bytes)),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return false;
            }
        }
    }
    for (index, (name, bytes)) in components.iter().enumerate() {
        // A host of its own, so that none finds the memory that another has left.
        let host = Host::start_with(Options::default()).await;
        let mut cold = Deploys::default();
        let mut warm = Deploys::default();
        let window = format!("window-{index}");
        for run in 0..RUNS {
            let component = variant(bytes, &format!("run {run}"));
            cold.add(&deploy(&host, &window, component.clone()).await);
            warm.add(&deploy(&host, &window, component).await);
        }
        println!("{name}, {:.1} MB", bytes.len() as f64 / 1e6);
        for (kind, deploys) in [("cold", &cold), ("warm", &warm)] {
            println!(
                "  {kind}: median {:.1} ms of {RUNS}",
                deploys.total.percentile_ms(50.0)
            );
            println!("    medians by step, ms: {}", deploys.steps());
        }
    }
    true
}
