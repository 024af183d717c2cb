//! What the system says of the process, by the names that Prometheus has for it, and the version.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ticks of the clock in /proc in a second: a constant of Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Asks the system.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    started: f64,
}

impl ProcessCollector {
    /// Of this process, which has just started.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        ProcessCollector {
            started: now.unwrap_or_default().as_secs_f64(),
        }
    }
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// What /proc/self/stat says: CPU seconds, threads, and bytes of virtual memory.
struct Stat {
    cpu: f64,
    threads: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program is in brackets, and may hold anything.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number)?.parse::<f64>().ok();
        Some(Stat {
            cpu: (field(11)? + field(12)?) / TICKS,
            threads: field(17)?,
            virtual_bytes: field(20)?,
        })
    }
}

/// A size in kB of /proc/self/status, in bytes.
fn resident() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn open_files() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

fn most_open_files() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = Build {
            version: env!("CARGO_PKG_VERSION"),
        };
        let mut info = encoder.encode_descriptor(
            "hms_build_info",
            "The version of the host: always 1",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1i64).encode(info.encode_family(&build)?)?;
        let stat = Stat::read();
        if let Some(stat) = &stat {
            let help = "CPU time of the process, of users and the system";
            let cpu = ConstCounter::new(stat.cpu);
            let metric =
                encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?;
            cpu.encode(metric)?;
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory of the process",
                resident(),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory of the process; the pool of instances reserves much",
                stat.as_ref().map(|stat| stat.virtual_bytes),
            ),
            (
                "process_threads",
                "Threads of the process",
                stat.as_ref().map(|stat| stat.threads),
            ),
            ("process_open_fds", "Open file descriptors", open_files()),
            (
                "process_max_fds",
                "The most file descriptors that may be open",
                most_open_files(),
            ),
            (
                "process_start_time_seconds",
                "Unix time at which the host started",
                Some(self.started),
            ),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
                gauge.encode(metric)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_tells_of_this_process() {
        let stat = Stat::read().unwrap();
        assert!(stat.threads >= 1.0 && stat.virtual_bytes > 1e6 && stat.cpu < 1e6);
        assert!(resident().unwrap() > 1e5);
        assert!(open_files().unwrap() >= 3.0);
        assert!(most_open_files().unwrap() >= open_files().unwrap());
    }
}
