//! What is compared with, each started from a package that users can install.

mod express;
mod nginx;
mod wasmtime;
mod workerd;

pub use express::Express;
pub use nginx::Nginx;
pub use wasmtime::{Wasi, Wasmtime};
pub use workerd::Workerd;

use anyhow::{Context, bail};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest that a peer may take to listen.
const START: Duration = Duration::from_secs(30);

/// A started process, which ends with this value.
pub struct Process(Child);

impl Process {
    /// Starts `command`, which is to listen on `port`.
    pub fn start(command: &mut Command, port: u16) -> anyhow::Result<Process> {
        let name = format!("{:?}", command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut process = Process(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{name} ended at its start: {status}");
            }
            if begun.elapsed() > START {
                bail!("{name} does not listen on port {port}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that nginx ends its workers; then for certain.
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The folder of this bench's own files.
fn own(path: &str) -> PathBuf {
    hms_harness::root().join("benches/compare").join(path)
}

/// A copy of `folder` with its npm packages, made once.
fn with_packages(folder: &str) -> anyhow::Result<PathBuf> {
    let copy = hms_harness::root().join("target/compare").join(folder);
    std::fs::create_dir_all(&copy)?;
    let mut fresh = !copy.join("node_modules").is_dir();
    for entry in std::fs::read_dir(own(folder))? {
        let entry = entry?;
        let (text, to) = (std::fs::read(entry.path())?, copy.join(entry.file_name()));
        let changed = std::fs::read(&to).ok().as_ref() != Some(&text);
        fresh |= changed && entry.file_name() == "package.json";
        std::fs::write(to, text)?;
    }
    if fresh {
        eprintln!("installing the packages of {folder}");
        let status = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
                "--silent",
            ])
            .current_dir(&copy)
            .status()
            .context("npm is needed (Node.js)")?;
        if !status.success() {
            bail!("npm install failed in {}", copy.display());
        }
    }
    Ok(copy)
}
