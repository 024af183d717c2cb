//! Compiles in a child process of our own binary: a compile bomb or a compiler crash affects only
//! that deploy, and the host's threads keep serving.

use super::native;
use anyhow::Context;
use hms_core::units::Size;
use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, getpriority_process, set_parent_process_death_signal,
    setpriority_process, setrlimit,
};
use sha2::{Digest, Sha256};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The hidden verb of `hms` that runs the child.
pub const VERB: &str = "compile-component";

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is at fault, or its file was damaged on disk: compiling it again would fail
    /// too.
    #[error("{0}")]
    Component(String),
    /// The native code could not be written, for example because the disk is full.
    #[error("{0}")]
    Disk(String),
    /// The system did not provide what a compile needs, such as a process.
    #[error("{0}")]
    Host(String),
}

/// Exit statuses of the child. Not 2, which the command line's parser uses, nor 101, that of a
/// panic.
const CANNOT_WRITE: u8 = 3;
const HOST_FAULT: u8 = 4;

impl CompileError {
    /// The exit status that the child reports.
    pub fn exit_status(&self) -> u8 {
        match self {
            CompileError::Component(_) => 1,
            CompileError::Disk(_) => CANNOT_WRITE,
            CompileError::Host(_) => HOST_FAULT,
        }
    }

    fn host(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| CompileError::Host(format!("{what}: {error}"))
    }
}

/// The limits of one compile.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// The longest time. Two minutes: an 18 MB component takes some seconds on two cores.
    pub time: Duration,
    /// Address space of the child in bytes. 4 GiB: an 18 MB component takes about 1 GiB.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        CompileLimits {
            time: Duration::from_secs(120),
            memory_bytes: 4 << 30,
        }
    }
}

/// A lower priority than the host's, so that requests come first: the usual value of `nice`.
const NICE: i32 = 10;

/// What Rust's standard library prints before it aborts because it is out of memory.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// The longest message from the child, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Starts the child.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
    limits: CompileLimits,
    source_lines: bool,
}

/// The argument that asks the child for source lines.
const SOURCE_LINES: &str = "--source-lines";

impl Compiler {
    /// With the running binary as the child's program.
    ///
    /// # Errors
    ///
    /// If the system does not say which file that is.
    pub fn this_program(limits: CompileLimits) -> std::io::Result<Self> {
        // Not `current_exe`: a binary that was replaced by an upgrade while the host runs would
        // compile for another engine. The kernel's link still refers to the running file.
        let link = PathBuf::from("/proc/self/exe");
        let program = if link.exists() {
            link
        } else {
            std::env::current_exe()?
        };
        Ok(Compiler {
            program,
            limits,
            source_lines: false,
        })
    }

    /// For an engine whose [`EngineConfig`](crate::EngineConfig) says so, or not.
    pub fn with_source_lines(self, source_lines: bool) -> Self {
        Compiler {
            source_lines,
            ..self
        }
    }

    /// Without a child: the program of a test cannot compile.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_process() -> Self {
        Compiler {
            program: PathBuf::new(),
            limits: CompileLimits::default(),
            source_lines: false,
        }
    }

    /// Compiles `wasm`, whose SHA-256 is `digest`, into `compiled`, which must not exist yet.
    /// Dropping the future kills the child.
    ///
    /// The compiler's message; that it took too long, or crashed; or that the file has another
    /// digest, or cannot be written.
    pub async fn compile(
        &self,
        wasm: &Path,
        digest: &str,
        compiled: &Path,
    ) -> Result<(), CompileError> {
        #[cfg(any(test, feature = "testing"))]
        if self.program.as_os_str().is_empty() {
            return compile_file(wasm, digest, compiled, self.source_lines);
        }
        let mut child = tokio::process::Command::new(&self.program)
            .arg(VERB)
            .arg(wasm)
            .arg(digest)
            .arg(compiled)
            .arg(self.limits.memory_bytes.to_string())
            .args(self.source_lines.then_some(SOURCE_LINES))
            .env_clear()
            // The allocator must not reserve more address space than it uses, or its reserves alone
            // would reach the limit.
            .env("MIMALLOC_ARENA_RESERVE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Signals from the keyboard are for the host, which lets a change in progress continue
            // for a while.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(CompileError::host("the compiler could not be started"))?;
        let mut stderr = child.stderr.take();
        let running = async {
            let mut said = Vec::new();
            if let Some(stderr) = &mut stderr {
                stderr.read_to_end(&mut said).await?;
            }
            Ok::<_, std::io::Error>((child.wait().await?, said))
        };
        let Ok(ended) = tokio::time::timeout(self.limits.time, running).await else {
            // It must be gone before another one gets its permit.
            let _ = child.kill().await;
            return Err(CompileError::Component(format!(
                "compiling took longer than {} s and was ended; a host with a larger --compile-time allows more",
                self.limits.time.as_secs_f32()
            )));
        };
        let (status, said) =
            ended.map_err(CompileError::host("the compiler could not be waited for"))?;
        if status.success() {
            return Ok(());
        }
        if let Some(signal) = ended_from_outside(status) {
            return Err(CompileError::Host(format!(
                "the compiler was ended by signal {signal}, which says nothing about the \
                 component: deploy it again"
            )));
        }
        let end = said.len().min(MAX_MESSAGE_BYTES);
        let message = String::from_utf8_lossy(said.get(..end).unwrap_or_default());
        let message = match message.trim() {
            message if message.contains(OUT_OF_MEMORY) => format!(
                "compiling needed more than {} of memory and was ended; a host with a larger --compile-memory \
                 allows more",
                Size::of(self.limits.memory_bytes)
            ),
            "" => format!("the compiler ended with {status} and no message"),
            message => message.strip_prefix("hms: ").unwrap_or(message).to_owned(),
        };
        Err(match status.code().map(u8::try_from) {
            Some(Ok(CANNOT_WRITE)) => CompileError::Disk(message),
            Some(Ok(HOST_FAULT)) => CompileError::Host(message),
            _ => CompileError::Component(message),
        })
    }
}

/// The signal by which somebody ended the compiler, if any. Not a crash, nor the kernel's SIGKILL
/// for lack of memory: those would recur with the component.
fn ended_from_outside(status: ExitStatus) -> Option<i32> {
    let signal = status.signal()?;
    let asks = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    asks.iter()
        .any(|ask| ask.as_raw() == signal)
        .then_some(signal)
}

/// The child: compiles one file into another, within its limits.
///
/// # Errors
/// The message for whoever deploys. The process must end with its exit status.
pub fn child(
    wasm: &Path,
    digest: &str,
    compiled: &Path,
    memory_bytes: u64,
    source_lines: bool,
) -> Result<(), CompileError> {
    confine(memory_bytes).map_err(|error| CompileError::Host(format!("{error:#}")))?;
    compile_file(wasm, digest, compiled, source_lines)
}

fn confine(memory_bytes: u64) -> anyhow::Result<()> {
    // If the host is killed, its compiler dies too.
    set_parent_process_death_signal(Some(Signal::KILL)).context("the parent cannot be watched")?;
    let nice = getpriority_process(None).unwrap_or(0);
    // Failing to lower the priority is no reason to fail.
    let _ = setpriority_process(None, nice + NICE);
    let bound = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::As, bound(memory_bytes)).context("the memory limit could not be set")?;
    setrlimit(Resource::Core, bound(0)).context("the core limit could not be set")
}

fn compile_file(
    wasm: &Path,
    digest: &str,
    compiled: &Path,
    source_lines: bool,
) -> Result<(), CompileError> {
    let shown = wasm.display();
    let bytes = std::fs::read(wasm).map_err(|error| {
        let why = format!("{shown} cannot be read: {error}");
        match Errno::from_io_error(&error) {
            // The disk has lost the file.
            Some(Errno::NOENT | Errno::IO) => CompileError::Component(why),
            _ => CompileError::Host(why),
        }
    })?;
    // What is compiled under a digest must be what was uploaded under it, even if the disk has
    // damaged the file.
    if native::hex(&Sha256::digest(&bytes)) != digest {
        return Err(CompileError::Component(format!(
            "{shown} is damaged, its SHA-256 is not its name: deploy the component again"
        )));
    }
    let code = super::engine::precompile(&bytes, source_lines);
    let code = code.map_err(|error| CompileError::Component(format!("{error:#}")))?;
    native::write(compiled, digest, &code)
        .map_err(|error| CompileError::Disk(format!("{}: {error}", compiled.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What comes of a compiler that does `script`.
    async fn compile_by(script: &str) -> CompileError {
        // A program that is being written cannot be started, and what another test starts meanwhile
        // has the file open for a moment.
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let limits = CompileLimits::default();
        let compiler = Compiler {
            program,
            limits,
            source_lines: false,
        };
        let path = dir.path();
        loop {
            let error = compiler.compile(path, "", path).await.unwrap_err();
            // Another test's child may hold the script open for a moment longer.
            if !error.to_string().contains("Text file busy") {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn killed_compiler_is_a_host_failure_and_a_crashed_one_blames_the_component() {
        for signal in ["HUP", "INT", "QUIT", "TERM"] {
            let error = compile_by(&format!("kill -{signal} $$")).await;
            assert!(matches!(error, CompileError::Host(_)), "{signal}: {error}");
        }
        for crash in ["kill -SEGV $$", "kill -KILL $$", "exit 1"] {
            let error = compile_by(crash).await;
            assert!(
                matches!(error, CompileError::Component(_)),
                "{crash}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn keyboard_signals_do_not_reach_a_compiler() {
        let own = "[ \"$(cut -d' ' -f5 /proc/self/stat)\" = $$ ] && kill -TERM $$; exit 1";
        // `cut` has the group of its shell, which is the shell's own.
        assert!(matches!(compile_by(own).await, CompileError::Host(_)));
    }
}
