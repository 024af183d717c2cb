//! `hms deploy`: uploads a component and shows the steps as they go.

use super::{Host, client};
use crate::body::Body;
use crate::windows::WindowName;
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures_util::TryStreamExt;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// Bytes read from the file at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The longest line of progress, in bytes: the last one carries the release's imports.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Deploy a component to the running host, as the next release of its window.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The window; by default the file's name
    #[arg(long = "as", value_name = "NAME")]
    window: Option<WindowName>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: Host,
}

impl Deploy {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let window = match self.window {
            Some(name) => name,
            None => WindowName::from_file(&self.file)
                .map_err(anyhow::Error::msg)
                .context("name the window with --as NAME")?,
        };
        let (size, body) = open(&self.file).await?;
        if !self.json {
            println!("{window}: {} ({})", self.file.display(), human_size(size));
        }
        let headers = [
            ("accept", "application/x-ndjson".to_owned()),
            ("content-length", size.to_string()),
            ("x-hms-deployer", deployer()),
        ];
        let client = self.host.client()?;
        let response = client
            .send(Method::PUT, &format!("/windows/{window}"), &headers, body)
            .await?;
        if !response.status().is_success() {
            client::read(response).await?;
            bail!("the host refused without saying why");
        }
        let deployed = follow(response.into_body(), !self.json).await?;
        match self.json {
            true => println!("{deployed:#}"),
            false => println!("{}", summary(&deployed)),
        }
        Ok(())
    }
}

async fn open(path: &Path) -> anyhow::Result<(u64, Body)> {
    let file = tokio::fs::File::open(path).await;
    let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    let meta = file.metadata().await?;
    anyhow::ensure!(meta.is_file(), "{} is not a file", path.display());
    let chunks = futures_util::stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then_some((Bytes::from(chunk), file)))
    });
    let frames = chunks.map_ok(Frame::data).map_err(Into::into);
    Ok((meta.len(), StreamBody::new(frames).boxed_unsync()))
}

/// Reads the lines of progress to the last, which is the result.
async fn follow(mut body: Incoming, show: bool) -> anyhow::Result<Value> {
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.context("the host's answer broke off; `hms windows` shows what is live")?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        pending.extend_from_slice(&bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let mut event: Value =
                serde_json::from_slice(&line).context("the host's answer cannot be read")?;
            if let Some(problem) = event.get("problem") {
                bail!(
                    "{}",
                    client::refusal(StatusCode::UNPROCESSABLE_ENTITY, problem)
                );
            }
            if let Some(deployed) = event.get_mut("deployed") {
                return Ok(deployed.take());
            }
            if show {
                let step = event["step"].as_str().unwrap_or_default();
                println!(
                    "  {step:<8} {:>9.1} ms",
                    event["ms"].as_f64().unwrap_or_default()
                );
            }
        }
        anyhow::ensure!(
            pending.len() <= MAX_LINE_BYTES,
            "the host's answer is too long"
        );
    }
    bail!("the host's answer ended early; `hms windows` shows what is live")
}

fn summary(deployed: &Value) -> String {
    let release = &deployed["release"];
    let digest = release["digest"].as_str().unwrap_or_default();
    let digest = digest.get(..12).unwrap_or(digest);
    let now = format!(
        "{} release {} is live ({digest})",
        deployed["window"].as_str().unwrap_or_default(),
        release["number"]
    );
    match deployed["replaced"].as_u64() {
        Some(before) => format!("{now}; release {before} drains"),
        None => now,
    }
}

fn deployer() -> String {
    let name = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_default();
    let printable: String = name.chars().filter(|c| c.is_ascii_graphic()).collect();
    if printable.is_empty() {
        "cli".into()
    } else {
        printable
    }
}

/// Bytes for a person.
pub(super) fn human_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
