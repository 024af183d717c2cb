//! Builds a window by the command that its `window.toml` names.

use super::tools::{NOT_FOUND, missing, missing_in};
use super::{Built, Profile};
use crate::children::Group;
use hms_windows::WindowName;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Bytes of a command's output that are looked through for what it did not find. 4 KiB: its last
/// lines.
const TAIL_BYTES: usize = 4096;

/// How long after a command's end its output is still read. 1 s: it is in the pipe by then.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A window that is built by a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct CommandWindow {
    pub name: WindowName,
    /// Its folder, in which the command runs, with all links resolved.
    pub dir: PathBuf,
    pub command: String,
    /// The component that the command makes, below `/`.
    pub wasm: PathBuf,
    /// Files and folders whose change means a new build, below `/`. None: the folder.
    pub watch: Option<Vec<PathBuf>>,
    /// The command that tests it.
    pub test: Option<String>,
}

impl CommandWindow {
    /// Runs the command. What it says goes to our stderr as it wrote it. Dropping the future ends
    /// it and what it has started.
    ///
    /// # Errors
    /// Why there is no new component, as a sentence.
    pub(in crate::cli) async fn build(&self, profile: Profile) -> Result<Built, String> {
        let (name, command) = (&self.name, &self.command);
        if let Some(missing) = missing(command, &self.dir) {
            return Err(format!("{name} was not built: {missing}"));
        }
        let mut sh = shell(command, &self.dir);
        sh.env("HMS_WINDOW", name.as_str());
        sh.env("HMS_PROFILE", profile.as_str());
        sh.stdin(Stdio::null()).process_group(0);
        sh.stdout(Stdio::piped()).stderr(Stdio::piped());
        let cannot = |error| format!("{name} was not built: cannot run `{command}`: {error}");
        let mut child = sh.spawn().map_err(cannot)?;
        let group = child.id().and_then(Group::led_by);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut told, mut said) = (Vec::new(), Vec::new());
        let status = {
            let output = async {
                tokio::join!(pass_on(stdout, &mut told), pass_on(stderr, &mut said));
            };
            tokio::pin!(output);
            tokio::select! {
                () = &mut output => child.wait().await,
                status = child.wait() => {
                    // What it has left behind may hold them open for ever.
                    let _ = tokio::time::timeout(LAST_OUTPUT, &mut output).await;
                    status
                }
            }
        };
        let said = String::from_utf8_lossy(&said);
        if let Some(group) = group {
            group.release();
        }
        let status = status.map_err(cannot)?;
        if !status.success() {
            let why = match status.code() {
                Some(NOT_FOUND) => missing_in(&said),
                _ => None,
            };
            let why = why.unwrap_or_else(|| format!("`{command}` ended with {status}; see above"));
            return Err(format!("{name} was not built: {why}"));
        }
        if !self.wasm.is_file() {
            return Err(format!(
                "{name} was not built: `{command}` made no {}; correct 'wasm' in {}/{}",
                self.wasm.display(),
                self.dir.display(),
                super::file::WINDOW_TOML
            ));
        }
        Ok(Built {
            window: name.clone(),
            wasm: self.wasm.clone(),
        })
    }
}

/// `sh -c COMMAND` in `dir`.
pub(in crate::cli) fn shell(command: &str, dir: &Path) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).current_dir(dir).kill_on_drop(true);
    sh
}

/// Writes what comes to our stderr, and keeps the end of it in `tail`.
async fn pass_on(from: Option<impl AsyncRead + Unpin>, tail: &mut Vec<u8>) {
    let Some(mut from) = from else {
        return;
    };
    let mut chunk = [0; TAIL_BYTES];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let bytes = chunk.get(..read).unwrap_or_default();
        let _ = std::io::stderr().write_all(bytes);
        tail.extend_from_slice(bytes);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
    }
}
