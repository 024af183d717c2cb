//! One measured load: wrk, a closed loop over kept connections.

use crate::process::cpu;
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What is asked, as wrk is told it.
#[derive(Clone)]
pub struct Load {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub connections: u32,
    /// A Lua script for what is not a plain GET.
    pub script: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Answers that were not 2xx or 3xx, and requests that failed.
    pub failed: u64,
    /// Seconds of processor time of the generator in each second.
    pub generator: f64,
}

impl Load {
    pub fn get(url: String) -> Load {
        Load {
            url,
            headers: Vec::new(),
            connections: 64,
            script: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Load {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn connections(mut self, connections: u32) -> Load {
        self.connections = connections;
        self
    }

    pub fn script(mut self, script: PathBuf) -> Load {
        self.script = Some(script);
        self
    }

    /// Runs it for so long.
    pub fn run(&self, time: Duration) -> anyhow::Result<Figure> {
        let mut command = Command::new("wrk");
        command
            .args(["--threads", "1", "--latency", "--timeout", "30s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs().max(1))]);
        for (name, value) in &self.headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        if let Some(script) = &self.script {
            command.arg("--script").arg(script);
        }
        let pid = std::process::id();
        let before = cpu(pid).children;
        let output = command
            .arg(&self.url)
            .output()
            .context("wrk is needed (Debian: wrk)")?;
        let used = cpu(pid).children - before;
        if !output.status.success() {
            bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let mut figure = read(&said).with_context(|| format!("wrk said:\n{said}"))?;
        figure.generator = used / time.as_secs_f64();
        Ok(figure)
    }
}

/// Reads what wrk prints.
fn read(said: &str) -> anyhow::Result<Figure> {
    let after = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("no '{name}'"))
    };
    let failed = |name: &str| -> anyhow::Result<u64> {
        match said.lines().find_map(|line| line.trim().strip_prefix(name)) {
            // `Socket errors: connect 0, read 3, write 0, timeout 0`, or one number.
            Some(rest) => rest
                .split(|c: char| !c.is_ascii_digit())
                .filter(|number| !number.is_empty())
                .map(|number| number.parse::<u64>().map_err(Into::into))
                .sum(),
            None => Ok(0),
        }
    };
    Ok(Figure {
        per_second: after("Requests/sec:")?.parse()?,
        p50_ms: milliseconds(after("50%")?)?,
        p99_ms: milliseconds(after("99%")?)?,
        failed: failed("Non-2xx or 3xx responses:")? + failed("Socket errors:")?,
        generator: 0.0,
    })
}

fn scaled(text: &str, units: &[(&str, f64)]) -> anyhow::Result<f64> {
    for (unit, factor) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("'{text}' has no known unit")
}

fn milliseconds(text: &str) -> anyhow::Result<f64> {
    scaled(
        text,
        &[("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)],
    )
}
