//! The host that is compared: the release build of `hms`, with its log at `warn`, as none of the
//! others writes a line for each request. What the access log costs is a row of its own.

use super::peers::{Process, free_port};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Ours {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    admin: String,
    args: Vec<String>,
    log: &'static str,
}

/// Where the data folder is.
pub enum Disk {
    Disk,
    /// In memory, where a sync costs nothing.
    Memory,
}

impl Ours {
    /// A host with these routes, by their names, and no windows yet.
    pub fn start(routes: &[(&str, String)], args: &[&str]) -> anyhow::Result<Ours> {
        Ours::start_on(Disk::Disk, "warn", routes, args)
    }

    pub fn start_on(
        disk: Disk,
        log: &'static str,
        routes: &[(&str, String)],
        args: &[&str],
    ) -> anyhow::Result<Ours> {
        let folder = match disk {
            Disk::Disk => tempfile::tempdir_in(target())?,
            Disk::Memory => tempfile::tempdir_in("/dev/shm")?,
        };
        std::fs::create_dir(folder.path().join("routes"))?;
        for (name, text) in routes {
            std::fs::write(folder.path().join(format!("routes/{name}.yaml")), text)?;
        }
        let mut ours = Ours {
            process: None,
            folder,
            port: free_port()?,
            admin: format!("127.0.0.1:{}", free_port()?),
            args: args.iter().map(|arg| arg.to_string()).collect(),
            log,
        };
        ours.boot()?;
        // It listens before it has all.
        while !ours.data().join("admin.token").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(ours)
    }

    /// Starts it; where it runs it is ended first.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        self.process = None;
        let mut command = Command::new(hms_harness::hms());
        command
            .args(["serve", "--gateway", &format!("127.0.0.1:{}", self.port)])
            .args(["--admin", &self.admin, "--routes"])
            .arg(self.folder.path().join("routes"))
            .arg("--data")
            .arg(self.data())
            .args(&self.args)
            .env("HMS_LOG", self.log);
        self.process = Some(Process::start(&mut command, self.port)?);
        Ok(())
    }

    /// Ends it, then starts it. The time until `path` is answered with 200.
    pub fn restart_until(&mut self, path: &str) -> anyhow::Result<Duration> {
        self.process = None;
        let begun = Instant::now();
        self.boot()?;
        while !self.answers(path) {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("no answer in a minute");
            }
        }
        Ok(begun.elapsed())
    }

    fn answers(&self, path: &str) -> bool {
        let url = self.url(path);
        let asked = Command::new("curl")
            .args(["-sf", "-o", "/dev/null", &url])
            .status();
        asked.is_ok_and(|status| status.success())
    }

    pub fn deploy(&self, window: &str, component: &Path) -> anyhow::Result<()> {
        self.hms(&[
            "deploy",
            &component.display().to_string(),
            "--as",
            window,
            "--yes",
        ])
        .map(drop)
    }

    /// The argument of an `Authorization` header.
    pub fn bearer(&self, scopes: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["token", "--user", "bench", "--ttl", "24h"];
        for scope in scopes {
            args.extend(["--scope", scope]);
        }
        let data = self.data().display().to_string();
        args.extend(["--data", &data]);
        let output = run(&args)?;
        Ok(format!("Bearer {}", output.trim()))
    }

    /// A verb of the command line, against this host.
    pub fn hms(&self, args: &[&str]) -> anyhow::Result<String> {
        let data = self.data().display().to_string();
        run(&[args, &["--admin", &self.admin, "--data", &data]].concat())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The secret of its tokens, in base64url.
    pub fn secret(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.data().join("dev-secret"))?
            .trim()
            .into())
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }
}

/// Beside the build, so that the data is on the disk that the build is on.
fn target() -> PathBuf {
    let target = hms_harness::root().join("target/compare");
    // It is missed where it is used.
    let _ = std::fs::create_dir_all(&target);
    target
}

fn run(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(hms_harness::hms())
        .args(args)
        .output()
        .context("hms")?;
    if !output.status.success() {
        bail!(
            "hms {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
