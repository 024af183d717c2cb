//! A real host process for one test.

use super::guests;
use super::http::{Answer, send};
use super::{PATIENCE, eventually, hms, replace_file, root};
use hms_api::{Deployed, WindowDetail, WindowStatus};
use http::Method;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a host is started.
#[derive(Default)]
pub struct Options {
    /// More arguments for `hms serve`.
    pub args: Vec<String>,
    /// Route manifests by file name; where there are none, the repository's own.
    pub routes: Vec<(&'static str, String)>,
    /// The folder for `hms up`, which is started instead of `hms serve`.
    pub up: Option<PathBuf>,
}

/// A folder with routes and data, and the host that serves them. Ends with the test.
pub struct Host {
    folder: TempDir,
    args: Vec<String>,
    up: Option<PathBuf>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    gateway: String,
    admin: String,
    log: Arc<Mutex<String>>,
}

/// The route that leads everything below `/NAME` to window NAME, without plugins.
pub fn open_route(window: &str) -> String {
    format!("uri: /{window}/**\nupstream: http://hms-svc-{window}\nstrip-prefix: /{window}\n")
}

impl Host {
    /// Starts a host with the repository's routes and no windows.
    pub async fn start() -> Host {
        Host::start_with(Options::default()).await
    }

    /// Starts a host in which each of `windows` answers below its name, with no token.
    pub async fn with_open_windows(windows: &[(&str, &[u8])]) -> Host {
        Host::with_open_windows_and(windows, &[]).await
    }

    /// The same with more arguments.
    pub async fn with_open_windows_and(windows: &[(&str, &[u8])], args: &[&str]) -> Host {
        let file =
            |name: &str| -> &'static str { Box::leak(format!("{name}.yaml").into_boxed_str()) };
        let host = Host::start_with(Options {
            args: args.iter().map(|arg| arg.to_string()).collect(),
            routes: windows
                .iter()
                .map(|(name, _)| (file(name), open_route(name)))
                .collect(),
            up: None,
        })
        .await;
        for (name, wasm) in windows {
            host.deploy(name, wasm).await;
        }
        host
    }

    pub async fn start_with(options: Options) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let routes = folder.path().join("routes");
        std::fs::create_dir(&routes).unwrap();
        if options.routes.is_empty() {
            let ours = root().join("routes");
            for entry in std::fs::read_dir(ours).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), routes.join(entry.file_name())).unwrap();
            }
        }
        for (name, text) in &options.routes {
            std::fs::write(routes.join(name), text).unwrap();
        }
        let mut host = Host {
            folder,
            args: options.args,
            up: options.up,
            process: None,
        };
        host.boot().await;
        host
    }

    /// Starts a host over `data` and `routes` in `folder`, as they are.
    pub async fn in_folder(folder: TempDir) -> Host {
        let mut host = Host {
            folder,
            args: Vec::new(),
            up: None,
            process: None,
        };
        host.boot().await;
        host
    }

    /// Starts the process in its folder, as after an end of any kind.
    pub async fn boot(&mut self) {
        self.boot_with(&[]).await;
    }

    /// The same with more environment variables.
    pub async fn boot_with(&mut self, envs: &[(&str, &str)]) {
        self.open(envs).await;
        eventually("the host is ready", || async {
            (self.readyz().await.status == 200).then_some(())
        })
        .await;
    }

    /// What the host says of whether it is ready.
    pub async fn readyz(&self) -> Answer {
        self.admin_request(Method::GET, "/readyz", &[], Vec::new())
            .await
    }

    /// Starts the process, and waits until it has ended by itself, be it open by then or not.
    pub async fn open_until_it_ends(&mut self, envs: &[(&str, &str)]) {
        let mut child = self.spawn(envs, Stdio::null, Stdio::null);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if child.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the host did not end");
    }

    fn spawn(&self, envs: &[(&str, &str)], out: fn() -> Stdio, err: fn() -> Stdio) -> Child {
        assert!(self.process.is_none(), "it runs already");
        let mut command = match &self.up {
            None => self.hms("serve"),
            Some(windows) => {
                let mut up = self.hms("up");
                // What the guests are built from is built already, and is not built again for each
                // test.
                up.env("CARGO_TARGET_DIR", guests::target());
                up.arg(windows);
                up
            }
        };
        let named = |flag: &str| self.args.iter().any(|arg| arg == flag);
        if !named("--grants") && !named("--windows") {
            std::fs::create_dir_all(self.grants()).unwrap();
            command.arg("--grants").arg(self.grants());
        }
        command
            .args(["--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--routes")
            .arg(self.routes())
            .args(&self.args)
            .envs(envs.iter().copied())
            .stdout(out())
            .stderr(err())
            .spawn()
            .unwrap()
    }

    /// Starts the process and waits until it is open, which it is before it is ready.
    pub async fn open(&mut self, envs: &[(&str, &str)]) {
        let mut child = self.spawn(envs, Stdio::piped, Stdio::piped);
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let stdout = child.stdout.take().unwrap();
        let announced = tokio::task::spawn_blocking(move || {
            let (mut gateway, mut admin) = (None, None);
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines.by_ref() {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("gateway"), Some(url)) => gateway = Some(url.to_owned()),
                    (Some("admin"), Some(url)) => admin = Some(url.to_owned()),
                    _ => {}
                }
                if gateway.is_some() && admin.is_some() {
                    break;
                }
            }
            // Goes on reading, so that the host never meets a full or closed pipe.
            std::thread::spawn(move || lines.for_each(drop));
            gateway.zip(admin)
        });
        let announced = announced.await.unwrap();
        let Some((gateway, admin)) = announced else {
            let _ = child.wait();
            panic!("the host did not start:\n{}", log.lock().unwrap());
        };
        self.process = Some(Process {
            child,
            gateway,
            admin,
            log,
        });
    }

    /// `hms VERB --data …`, to be given more arguments.
    pub fn hms(&self, verb: &str) -> Command {
        let mut command = Command::new(hms());
        command
            .arg(verb)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null());
        command
    }

    /// Runs a client verb against this host.
    pub async fn cli(&self, verb: &str, args: &[&str]) -> Output {
        let admin = self
            .process()
            .admin
            .trim_start_matches("http://")
            .to_owned();
        let mut command = self.hms(verb);
        command.args(["--admin", &admin]).args(args);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Runs a client verb of a family, such as `hms key add`, against this host.
    pub async fn cli_of(&self, family: &str, verb: &str, args: &[&str]) -> Output {
        let admin = self
            .process()
            .admin
            .trim_start_matches("http://")
            .to_owned();
        let mut command = Command::new(hms());
        command
            .args([family, verb, "--admin", &admin, "--data"])
            .arg(self.data())
            .args(args)
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the host runs")
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// What the admin API says of a window.
    pub async fn window(&self, name: &str) -> WindowStatus {
        self.window_and_releases(name).await.window
    }

    /// The same with its releases.
    pub async fn window_and_releases(&self, name: &str) -> WindowDetail {
        let path = format!("/windows/{name}");
        self.admin(Method::GET, &path, "").await.read()
    }

    /// How many requests of a window failed for that reason.
    pub async fn failures(&self, window: &str, reason: &str) -> u64 {
        let failures = self.window(window).await.failures;
        failures.get(reason).copied().unwrap_or_default()
    }

    /// Sets limits of a window by the command line: `["--memory", "8MiB"]`.
    pub async fn limit(&self, window: &str, args: &[&str]) {
        let args = [&[window], args].concat();
        let output = self.cli("limits", &args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    }

    /// The base URL of the gateway.
    pub fn gateway(&self) -> &str {
        &self.process().gateway
    }

    /// The base URL of the admin API.
    pub fn admin_url(&self) -> &str {
        &self.process().admin
    }

    /// Everything that it wrote to stderr until now. A thread of its own writes the log, so this
    /// waits for the line of a request that comes after all else.
    pub async fn whole_log(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let id = format!("end-of-log-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let headers = [("x-request-id", id.as_str())];
        self.call(Method::GET, "/end-of-log", &headers, "").await;
        eventually("its log is written", || async {
            let log = self.log();
            log.contains(&id).then_some(log)
        })
        .await
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.process().log.lock().unwrap().clone()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn routes(&self) -> PathBuf {
        self.folder.path().join("routes")
    }

    /// The folder of grants, where no argument names another.
    pub fn grants(&self) -> PathBuf {
        self.folder.path().join("windows")
    }

    /// Writes `NAME.yaml` there.
    pub fn write_grants(&self, window: &str, text: &str) {
        replace_file(&self.grants().join(format!("{window}.yaml")), text);
    }

    pub fn write_route(&self, file: &str, text: &str) {
        replace_file(&self.routes().join(file), text);
    }

    /// A token by `hms token`.
    pub fn token(&self, user: &str, scopes: &[&str]) -> String {
        let mut command = self.hms("token");
        command.args(["--user", user]);
        for scope in scopes {
            command.args(["--scope", scope]);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A request to the gateway.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        send(
            method,
            &format!("{}{path}", self.gateway()),
            headers,
            body.into(),
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Vec::new()).await
    }

    /// A request to the admin API without a token.
    pub async fn admin_request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        send(
            method,
            &format!("{}{path}", self.process().admin),
            headers,
            body,
        )
        .await
    }

    /// A request to the admin API with the token in the data folder.
    pub async fn admin(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let token = std::fs::read_to_string(self.data().join("admin.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        self.admin_request(method, path, &[("authorization", &bearer)], body.into())
            .await
    }

    /// The value of one sample of `/metrics`, by its name with its labels; `None` where there is
    /// none.
    pub async fn metric(&self, sample: &str) -> Option<u64> {
        let metrics = self.admin(Method::GET, "/metrics", "").await.text();
        let mut samples = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = samples.find(|(name, _)| *name == sample)?;
        value.parse().ok()
    }

    /// A request to the admin API that the host does not live to answer. Whether that is so.
    pub async fn admin_broken(&self, method: Method, path: &str, body: &[u8]) -> bool {
        let token = std::fs::read_to_string(self.data().join("admin.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let url = format!("{}{path}", self.process().admin);
        let headers = [("authorization", bearer.as_str())];
        super::http::try_request(method, &url, &headers, body.to_vec())
            .await
            .is_err()
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Deploys by the admin API and gives the number of the release.
    pub async fn deploy(&self, window: &str, wasm: &[u8]) -> u64 {
        let answer = self
            .admin(Method::PUT, &format!("/windows/{window}?yes=true"), wasm)
            .await;
        assert!(
            answer.status.is_success(),
            "{window}: {} {}",
            answer.status,
            answer.text()
        );
        answer.read::<Deployed>().release.number
    }

    /// Ends the process as a power cut would: no chance to tidy up.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Asks the process to end, and waits until it has. Gives its exit status.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until the process has ended. Gives its exit status.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().expect("the host runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                process.log.lock().unwrap()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.child.kill();
            let _ = process.child.wait();
            if std::thread::panicking() {
                eprintln!("--- the host's log ---\n{}", process.log.lock().unwrap());
            }
        }
    }
}
