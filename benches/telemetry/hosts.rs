//! A host with one window behind a guarded route.

use hms_harness::wrk::Load;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUTE: &str = "uri: /hello\nupstream: http://hms-svc-hello\nplugins:\n  - auth\n  - rate-limit: {limit: 1000000, window: 1}\n";

/// The longest that it may take to end.
const END: Duration = Duration::from_secs(10);

/// A host, which ends with this value.
pub struct Host {
    program: PathBuf,
    child: Child,
    gateway: String,
    admin: String,
    bearer: String,
    folder: TempDir,
}

impl Host {
    /// Starts `program` with these variables, and deploys the guest at `guest`.
    pub fn start(program: &Path, log: &str, envs: &[(&str, &str)], guest: &Path) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let routes = folder.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        std::fs::write(routes.join("hello.yaml"), ROUTE).unwrap();
        let mut child = Command::new(program)
            .args([
                "serve",
                "--gateway",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .arg("--routes")
            .arg(&routes)
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("HMS_LOG", log)
            .envs(envs.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let (mut gateway, mut admin) = (None, None);
        while gateway.is_none() || admin.is_none() {
            let line = lines.next().expect("the host says where it listens");
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("gateway"), Some(url)) => gateway = Some(url.to_owned()),
                (Some("admin"), Some(url)) => admin = Some(url.to_owned()),
                _ => {}
            }
        }
        let (gateway, admin) = (gateway.unwrap(), admin.unwrap());
        // Goes on reading, so that the host never meets a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut host = Host {
            program: program.to_owned(),
            child,
            gateway,
            admin,
            bearer: String::new(),
            folder,
        };
        let admin = host.admin.trim_start_matches("http://").to_owned();
        let guest = guest.display().to_string();
        host.hms(&[
            "deploy", &guest, "--as", "hello", "--yes", "--admin", &admin,
        ]);
        let token = host.hms(&["token", "--user", "bench", "--ttl", "24h"]);
        host.bearer = format!("Bearer {}", token.trim());
        host
    }

    fn hms(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--data");
        let output = command.arg(self.folder.path().join("data")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What asks its window.
    pub fn load(&self) -> Load {
        let load = Load::get(format!("{}/hello", self.gateway));
        load.header("authorization", &self.bearer)
    }

    /// The base URL of its admin API.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// Its admin token.
    pub fn token(&self) -> String {
        let file = self.folder.path().join("data/admin.token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < END && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
