//! `hms deploy`: uploads a component and shows the steps as they go.

use super::client::{Client, refusal};
use super::show::{short, size, text};
use super::{HostArgs, agreed};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::TryStreamExt;
use hms_api::{DeployEvent, DeployLine, Deployed, Difference, GainedAndLost};
use hms_core::body::Body;
use hms_core::error::problem_type;
use hms_core::printable::{Printable, printable, printable_lines};
use hms_core::units::{Size, Time};
use hms_telemetry::print_json;
use hms_windows::{Consent, TrafficShare, WindowName};
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use serde_json::Value;
use std::io::IsTerminal;
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
    /// The window's name [default: the file's name]
    #[arg(long = "as", value_name = "NAME")]
    window: Option<WindowName>,
    /// A path that must answer 2xx before the release gets any traffic
    #[arg(long, value_name = "PATH")]
    probe: Option<String>,
    /// How long the probe may take
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "probe")]
    probe_time: Time,
    /// Give the release this share of the traffic at first, for example 10%; the canary ends
    /// automatically if it is clearly worse
    #[arg(long, value_name = "SHARE")]
    canary: Option<TrafficShare>,
    /// Return to the previous release automatically if this one keeps failing
    #[arg(long)]
    fallback: bool,
    /// Link imports that no window is given: a call of one ends the request
    #[arg(long)]
    trap_unknown: bool,
    /// Do not ask if the release may do more than the live one
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl Deploy {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        ensure!(
            !self.file.is_dir(),
            "{} is a folder: name the .wasm file, which `hms build` says",
            self.file.display()
        );
        let window = match &self.window {
            Some(name) => name.clone(),
            None => WindowName::from_file(&self.file)
                .map_err(anyhow::Error::msg)
                .context("set the window's name with --as NAME")?,
        };
        let consent = self.yes.then(|| "true".to_owned());
        let deployed = match self.upload(&window, consent).await? {
            UploadResult::Deployed(deployed) => deployed,
            UploadResult::NeedsConsent(why) => {
                if !std::io::stdin().is_terminal() || self.json {
                    bail!("{why}");
                }
                if !agreed(&format!("{}\nDeploy it anyway?", printable_lines(&why)))? {
                    bail!("nothing was deployed");
                }
                let agreed = Some(Consent::digest(&why));
                match self.upload(&window, agreed).await? {
                    UploadResult::Deployed(deployed) => deployed,
                    UploadResult::NeedsConsent(why) => bail!("{why}"),
                }
            }
        };
        match self.json {
            true => print_json(&deployed.json),
            false => {
                say!("{}", summary(&deployed.read));
                if let Some(trapped) = trapped(&deployed.read) {
                    say!("{trapped}");
                }
                for note in &deployed.read.notes {
                    say!("note: {}", printable(note));
                }
            }
        }
        Ok(())
    }

    /// `consent` as the admin API has it.
    async fn upload(
        &self,
        window: &WindowName,
        consent: Option<String>,
    ) -> anyhow::Result<UploadResult> {
        let (size, body) = open(&self.file).await?;
        if !self.json {
            let file = Printable(self.file.display());
            say!("{window}: {file} ({})", Size::of(size).rounded());
        }
        let headers = [
            ("accept", "application/x-ndjson".to_owned()),
            ("content-length", size.to_string()),
            ("x-hms-deployer", deployer()),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(path) = &self.probe {
            query
                .append_pair("probe", path)
                .append_pair("probe-time", &self.probe_time.to_string());
        }
        if let Some(share) = &self.canary {
            query.append_pair("canary", &share.to_string());
        }
        if self.fallback {
            query.append_pair("fallback", "true");
        }
        if self.trap_unknown {
            query.append_pair("trap-unknown", "true");
        }
        if let Some(consent) = &consent {
            query.append_pair("yes", consent);
        }
        let path = format!("/windows/{window}?{}", query.finish());
        let client = self.host.client()?;
        let response = client.send(Method::PUT, &path, &headers, body).await?;
        if !response.status().is_success() {
            return Err(client.refused(response).await);
        }
        follow(&client, response.into_body(), !self.json).await
    }
}

/// What came of an upload.
enum UploadResult {
    Deployed(Box<Success>),
    /// Why it is asked for.
    NeedsConsent(String),
}

/// What was deployed.
struct Success {
    read: Deployed,
    /// All that the host says of it, for `--json`.
    json: Value,
}

async fn open(path: &Path) -> anyhow::Result<(u64, Body)> {
    let file = tokio::fs::File::open(path).await;
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let meta = file.metadata().await?;
    ensure!(meta.is_file(), "{} is not a file", path.display());
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
async fn follow(client: &Client, mut body: Incoming, show: bool) -> anyhow::Result<UploadResult> {
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
            match client.parse(&line)? {
                DeployLine::Event(event) if show => print_event(&event),
                DeployLine::Event(_) | DeployLine::Unknown {} => {}
                DeployLine::Problem { problem } => {
                    let why = refusal(StatusCode::UNPROCESSABLE_ENTITY, Some(&problem));
                    if problem.kind == problem_type("needs-consent") {
                        return Ok(UploadResult::NeedsConsent(why));
                    }
                    bail!("{why}");
                }
                DeployLine::Deployed { deployed } => {
                    let mut line: Value = client.parse(&line)?;
                    let json = line.get_mut("deployed").map(Value::take);
                    return Ok(UploadResult::Deployed(Box::new(Success {
                        read: *deployed,
                        json: json.unwrap_or_default(),
                    })));
                }
            }
        }
        ensure!(
            pending.len() <= MAX_LINE_BYTES,
            "the host's answer is too long"
        );
    }
    bail!("the host's answer ended early; `hms windows` shows what is live")
}

fn print_event(event: &DeployEvent) {
    match event {
        DeployEvent::Difference { difference } => {
            let changes = changes(difference);
            if !changes.is_empty() {
                say!("{}", changes.trim_end());
            }
        }
        DeployEvent::Waiting { waiting, ahead } => {
            say!("  waiting for a {}, {ahead} ahead", text(waiting));
        }
        DeployEvent::Step { step, ms } => {
            let step = text(step.as_str());
            say!("  {step:<8} {ms:>9.1} ms");
        }
    }
}

/// What differs from the live release, one line a kind. Nothing where nothing does.
fn changes(difference: &Difference) -> String {
    let (before, after) = difference.size;
    let mut text = format!("  against release {}:\n", difference.live);
    if before != after {
        text.push_str(&format!(
            "    size         {} -> {}\n",
            size(before),
            size(after)
        ));
    }
    let GainedAndLost { gained, lost } = &difference.capabilities;
    let lines = [
        ("may now", gained),
        ("may no more", lost),
        ("note", &difference.notes),
    ];
    for (kind, phrases) in lines {
        for phrase in phrases {
            text.push_str(&format!("    {kind:<12} {}\n", printable(phrase)));
        }
    }
    for (kind, GainedAndLost { gained, lost }) in [
        ("trapped", &difference.trapped),
        ("imports", &difference.imports),
        ("exports", &difference.exports),
    ] {
        let signed = |names: &[String], sign: char| -> Vec<String> {
            let names = names.iter();
            names
                .map(|name| format!("{sign}{}", printable(name)))
                .collect()
        };
        let all = [signed(gained, '+'), signed(lost, '-')].concat();
        if !all.is_empty() {
            text.push_str(&format!("    {kind:<12} {}\n", all.join(" ")));
        }
    }
    match text.lines().count() {
        1 => String::new(),
        _ => text,
    }
}

/// What is said of imports that no window is given.
fn trapped(deployed: &Deployed) -> Option<String> {
    let names: Vec<_> = deployed.trapped.iter().map(|name| text(name)).collect();
    let interfaces = match names.len() {
        0 => return None,
        1 => "1 interface ends",
        more => &format!("{more} interfaces end"),
    };
    Some(format!(
        "{interfaces} the request if called: {}",
        names.join(", ")
    ))
}

fn summary(deployed: &Deployed) -> String {
    let (window, number) = (text(&deployed.window), deployed.release.number);
    let digest = short(&deployed.release.digest);
    if let Some(share) = &deployed.canary {
        let share = text(share);
        return format!(
            "{window} release {number} gets {share} of the traffic ({digest}); `hms windows` shows \
             its results, `hms promote {window}` or `hms abort {window}` ends it"
        );
    }
    let now = format!("{window} release {number} is live ({digest})");
    match deployed.replaced {
        Some(before) => format!("{now}; release {before} is draining"),
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
