//! `hms backup`: takes a backup of the running host, as a folder or a tar stream, or checks one.

use super::HostArgs;
use super::show::time;
use crate::signals::Interrupts;
use anyhow::{Context, bail};
use bytes::{Buf, Bytes};
use clap::Args;
use hms_backup::place::{check_target, resolve};
use hms_backup::save::Save;
use hms_backup::source::{Source, Verify, Whole};
use hms_backup::stream::read_stream;
use hms_backup::{Member, Missing};
use hms_core::body;
use hms_core::printable::{printable, printable_json};
use hms_core::units::Size;
use hms_disk::permissions::make_private_files;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces of the stream that wait to be written. 8.
const QUEUE: usize = 8;

/// Time to take away what was written, whatever signals come. 1 s: timeout(1) sends its signal
/// twice at once, and a terminal that is closed two.
const REMOVING: Duration = Duration::from_secs(1);

/// Bytes from which on a file is worth a line while it is copied. 1 MiB.
const SHOWN_BYTES: u64 = 1 << 20;

/// Back up the running host: all stores, records, components, routes, keys and idempotency keys.
///
/// Each store is copied as one commit left it. The files go to DIR, or with - to stdout as one tar
/// stream. The exit status is 3 if something could not be copied.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// A new or empty folder, or - for a tar stream; with --verify a backup: a folder, a tar file,
    /// or - for stdin
    #[arg(value_name = "DIR|-")]
    target: PathBuf,
    /// Verify a backup against its manifest instead of taking one
    #[arg(long, conflicts_with = "without_secrets")]
    verify: bool,
    /// Omit the admin token and the development secret; a restored host creates new ones
    #[arg(long)]
    without_secrets: bool,
    /// Print the result as JSON, on stderr if the target is -
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// A backup that is intact, and lacks something.
#[derive(Debug, thiserror::Error)]
#[error("the backup is intact but incomplete: {}", list(.0))]
pub(super) struct Incomplete(Vec<Missing>);

fn list(missing: &[Missing]) -> String {
    let lines = missing
        .iter()
        .map(|missing| format!("{} ({})", missing.path, missing.why));
    lines.collect::<Vec<_>>().join("; ")
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        make_private_files();
        let to_stdout = self.target == Path::new("-") && !self.verify;
        let whole = match self.verify {
            true => self.check().await?,
            false => self.take(to_stdout).await?,
        };
        let manifest = &whole.manifest;
        let said = match self.json {
            true => {
                // As in the manifest, with the number of files in the place of the files.
                let mut said = json!(manifest);
                if let Some(members) = said.as_object_mut() {
                    members.insert("backup".into(), json!(self.target.to_string_lossy()));
                    members.insert("files".into(), json!(manifest.files.len()));
                    members.insert("bytes".into(), json!(whole.bytes()));
                }
                printable_json(&format!("{said:#}")).into_owned()
            }
            false => printable(&summary(&whole, &self.target, self.verify)).into_owned(),
        };
        match to_stdout {
            true => hms_telemetry::warn(&said),
            false => say!("{said}"),
        }
        match manifest.missing.is_empty() {
            true => Ok(()),
            false => Err(Incomplete(manifest.missing.clone()).into()),
        }
    }

    async fn check(&self) -> anyhow::Result<Whole> {
        let (path, quiet) = (self.target.clone(), self.json);
        blocking(move || {
            let source = Source::open(&path)?;
            let mut show = |member: &Member, bytes| show(quiet, &member.to_string(), Some(bytes));
            source
                .read(&mut Verify(&mut show))
                .with_context(|| format!("the backup {} is unusable", path.display()))
        })
        .await
    }

    async fn take(&self, to_stdout: bool) -> anyhow::Result<Whole> {
        if to_stdout && io::stdout().is_terminal() {
            bail!(
                "refusing to write a tar stream to a terminal: use `hms backup - > FILE`, or a folder"
            );
        }
        // Before the host begins.
        if !to_stdout {
            check_target(&resolve(&self.target)?, Some(&self.host.data))?;
        }
        let (root, quiet) = (self.target.clone(), self.json);
        let mut tell = move |what: &str, bytes| show(quiet, what, bytes);
        let client = self.host.client()?;
        let path = match self.without_secrets {
            true => "/backup?secrets=omit",
            false => "/backup",
        };
        if !to_stdout {
            drop(Save::new(&root, &mut tell)?);
        }
        let response = client.send(Method::GET, path, &[], body::empty()).await?;
        if !response.status().is_success() {
            return Err(client.refused(response).await);
        }
        let (pieces, received) = mpsc::channel(QUEUE);
        let download = Download {
            pieces: received,
            rest: Bytes::new(),
        };
        let reading = blocking(move || match to_stdout {
            true => pass_on(download, &mut tell),
            false => {
                let mut save = Save::new(&root, &mut tell)?;
                let whole = read_stream(download, &mut save)?;
                save.finish(&whole)?;
                Ok(whole)
            }
        });
        let receiving = receive(response.into_body(), pieces);
        let whole = match to_stdout {
            // There is nothing to take away: a signal ends it as any program.
            true => tokio::join!(reading, receiving).0,
            false => unless_interrupted(reading, receiving).await?,
        };
        whole.context("there is no usable backup")
    }
}

/// What comes of `reading`. A signal ends `receiving`, so that the reader finds half a backup and
/// takes it away; the next signal does not wait for that, after [`REMOVING`].
///
/// # Errors
/// [`Interrupted`](crate::signals::Interrupted).
async fn unless_interrupted(
    reading: impl Future<Output = anyhow::Result<Whole>>,
    receiving: impl Future<Output = ()>,
) -> anyhow::Result<anyhow::Result<Whole>> {
    let mut interrupts = Interrupts::watch().context("cannot handle signals")?;
    let mut reading = pin!(reading);
    let interrupted = tokio::select! {
        whole = async { tokio::join!(reading.as_mut(), receiving).0 } => return Ok(whole),
        interrupted = interrupts.next() => interrupted,
    };
    tokio::select! {
        // It may have had all of it.
        whole = reading => match whole {
            Ok(whole) => Ok(Ok(whole)),
            Err(_) => Err(interrupted).context("there is no backup"),
        },
        interrupted = async {
            tokio::time::sleep(REMOVING).await;
            interrupts.next().await
        } => std::process::exit(interrupted.exit_status()),
    }
}

/// Hands on what comes, until it ends or its reader has enough.
async fn receive(mut body: Incoming, pieces: mpsc::Sender<Result<Bytes, String>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(piece)) => Ok(piece),
            // Trailers.
            Ok(Err(_)) => continue,
            Err(error) => Err(format!("the host's answer broke off; see its log: {error}")),
        };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

/// Writes the stream to stdout as it is, and looks at it on the way.
fn pass_on(download: Download, tell: &mut dyn FnMut(&str, Option<u64>)) -> anyhow::Result<Whole> {
    let mut tee = Tee {
        from: download,
        to: io::stdout(),
    };
    let mut look = |member: &Member, bytes| tell(&member.to_string(), Some(bytes));
    let whole = read_stream(&mut tee, &mut Verify(&mut look))?;
    // What ends a tar.
    io::copy(&mut tee, &mut io::sink())?;
    tee.to.flush()?;
    Ok(whole)
}

/// The host's answer, read by a thread that may wait.
struct Download {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    rest: Bytes,
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(why)) => return Err(io::Error::other(why)),
                None => return Ok(0),
            }
        }
        let take = self.rest.len().min(out.len());
        let (Some(to), Some(from)) = (out.get_mut(..take), self.rest.get(..take)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.rest.advance(take);
        Ok(take)
    }
}

struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(out)?;
        let written = self.to.write_all(out.get(..read).unwrap_or_default());
        written.map_err(|error| {
            let why = format!("cannot write to stdout: {error}");
            io::Error::new(error.kind(), why)
        })?;
        Ok(read)
    }
}

/// Beside the threads of the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Says on stderr what is worth it.
pub(super) fn show(quiet: bool, what: &str, bytes: Option<u64>) {
    match bytes {
        _ if quiet => {}
        None => hms_telemetry::warn(&format!("  {what}")),
        Some(bytes) if bytes >= SHOWN_BYTES || what.starts_with("windows/") => {
            hms_telemetry::warn(&format!("  {what} {}", Size::of(bytes).rounded()));
        }
        Some(_) => {}
    }
}

/// What a backup holds, in a line.
pub(super) fn summary(whole: &Whole, path: &Path, verified: bool) -> String {
    let manifest = &whole.manifest;
    let member = |file: &hms_backup::FileEntry| Member::parse(&file.path);
    let stores = manifest.files.iter().filter_map(member);
    let stores = stores.filter(|member| matches!(member, Member::Store(_)));
    let what = match (path == Path::new("-"), verified) {
        (true, _) => "the backup".to_owned(),
        (false, _) => path.display().to_string(),
    };
    let state = match verified {
        true => "is intact",
        false => "is written",
    };
    let secrets = match manifest.secrets {
        true => {
            "; it contains the admin token or the development secret: protect it like the data \
             folder"
        }
        false => "",
    };
    format!(
        "{what} {state}: files: {}, stores: {}, {}, begun {}{secrets}",
        manifest.files.len(),
        stores.count(),
        Size::of(whole.bytes()).rounded(),
        time(manifest.head.begun),
    )
}
