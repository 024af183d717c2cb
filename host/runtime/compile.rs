//! Compiling, in a child process of our own binary: a compile bomb or a compiler crash costs that deploy alone,
//! and the host's threads go on serving.

use anyhow::{Context, bail};
use rustix::process::{
    Resource, Rlimit, Signal, getpriority_process, set_parent_process_death_signal,
    setpriority_process, setrlimit,
};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The hidden verb of `hms` that is the child.
pub const VERB: &str = "compile-component";

/// The longest that one compile may take. Two minutes: an 18 MB component takes some seconds on two cores.
const TIME: Duration = Duration::from_secs(120);

/// Address space of the child in bytes. 4 GiB: an 18 MB component takes about 1.
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;

/// Lower priority than the host's, so that requests go first: the usual value of `nice`.
const NICE: i32 = 10;

/// The longest message taken over from the child, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Starts the child.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
}

impl Compiler {
    /// With the running binary as the child's program.
    ///
    /// # Errors
    /// When the system cannot say which file that is.
    pub fn this_program() -> std::io::Result<Self> {
        // Not `current_exe`: a binary that was replaced by an upgrade while the host runs would compile for
        // another engine. The kernel's link goes on leading to the file that is running.
        let link = PathBuf::from("/proc/self/exe");
        let program = if link.exists() {
            link
        } else {
            std::env::current_exe()?
        };
        Ok(Compiler { program })
    }

    /// Compiles `wasm` into `compiled`, which must not exist yet. Dropping the future ends the child.
    ///
    /// # Errors
    /// The compiler's message, or that it took too long, or that it crashed.
    pub async fn compile(&self, wasm: &Path, compiled: &Path) -> anyhow::Result<()> {
        let child = tokio::process::Command::new(&self.program)
            .arg(VERB)
            .arg(wasm)
            .arg(compiled)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the compiler could not be started")?;
        let Ok(output) = tokio::time::timeout(TIME, child.wait_with_output()).await else {
            bail!(
                "compiling took longer than {} s and was ended",
                TIME.as_secs()
            );
        };
        let output = output.context("the compiler could not be waited for")?;
        if output.status.success() {
            return Ok(());
        }
        let end = output.stderr.len().min(MAX_MESSAGE_BYTES);
        let message = String::from_utf8_lossy(output.stderr.get(..end).unwrap_or_default());
        match message.trim() {
            "" => bail!("the compiler ended with {} and no message", output.status),
            message => bail!("{message}"),
        }
    }
}

/// The child: compiles one file into another, within its limits.
///
/// # Errors
/// What the parent shows to whoever deploys.
pub fn child(wasm: &Path, compiled: &Path) -> anyhow::Result<()> {
    // A host that is killed takes its compiler along.
    set_parent_process_death_signal(Some(Signal::KILL)).context("the parent cannot be watched")?;
    let nice = getpriority_process(None).unwrap_or(0);
    // Failing to become slower is no reason to fail.
    let _ = setpriority_process(None, nice + NICE);
    let bound = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::As, bound(ADDRESS_SPACE_BYTES))
        .context("the memory limit could not be set")?;
    setrlimit(Resource::Core, bound(0)).context("the core limit could not be set")?;
    let bytes =
        std::fs::read(wasm).with_context(|| format!("{} cannot be read", wasm.display()))?;
    let code = super::engine::precompile(&bytes)?;
    write_new(compiled, &code).with_context(|| format!("{} cannot be written", compiled.display()))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
