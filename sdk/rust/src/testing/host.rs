//! The one host of a test process.

use super::admin::{Admin, agent};
use super::{build, setup};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a start, or anything else that is waited for, may take. 30 s: a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Windows that are deployed before a test asks for one, so that it need not wait. 4: as many tests
/// as cores of a laptop.
const READY: usize = 4;

/// Between two looks at something that is waited for. 2 ms.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Runs the host until its standard input ends, which it does with the process of the tests,
/// however that ends.
const SUPERVISOR: &str = r#"
folder=$1; shift
"$@" 2>"$folder/host.log" </dev/null &
host=$!
exec >/dev/null
cat
kill -9 $host
wait $host 2>/dev/null
rm -rf "$folder"
"#;

/// A host that runs, with the window's component.
pub(super) struct Host {
    /// What the package builds.
    pub component: Vec<u8>,
    /// `http://ADDRESS` of the gateway.
    pub gateway: String,
    pub admin: Admin,
    /// For requests to the gateway.
    pub client: ureq::Agent,
    /// What the host says goes to `host.log` here.
    folder: PathBuf,
    /// Windows that are deployed already and that no test has had.
    windows: Mutex<Receiver<String>>,
    /// Its standard input is open as long as this process is there.
    _supervisor: Child,
}

impl Host {
    /// The host of this process; the first call starts it.
    pub(super) fn get() -> &'static Host {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(Host::start)
    }

    fn start() -> Host {
        let hms = program();
        let building = thread::spawn(|| build::component(&build::package()));
        let folder = std::env::temp_dir().join(format!("hms-window-test-{}", std::process::id()));
        for part in ["routes", "windows"] {
            made(fs::create_dir_all(folder.join(part)), &folder);
        }
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "sh"]).arg(&folder);
        // Settings of a host that has nothing to do with the tests.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HMS_") {
                command.env_remove(name);
            }
        }
        let mut supervisor = command
            .arg(&hms)
            .args([
                "serve",
                "--gateway",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .args(["--upstream-allow", "127.0.0.0/8", "--data"])
            .arg(folder.join("data"))
            .arg("--routes")
            .arg(folder.join("routes"))
            .arg("--grants")
            .arg(folder.join("windows"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C ends the tests, and by that the host.
            .process_group_of_its_own()
            .spawn()
            .unwrap_or_else(|error| panic!("sh cannot be started: {error}"));
        let (gateway, admin) = announced(&mut supervisor, &hms, &folder);
        let token = fs::read_to_string(folder.join("data/admin.token"));
        let admin = Admin::new(admin, token.unwrap_or_default().trim());
        until("the host is ready", || admin.is_ready().then_some(()));
        let component = building.join().unwrap_or_else(|cause| {
            let cause = cause.downcast_ref::<String>();
            panic!(
                "{}",
                cause.map_or("the window does not build", String::as_str)
            )
        });
        let (ready, windows) = mpsc::sync_channel(READY);
        thread::spawn(move || {
            let host = Host::get();
            for number in 1_u64.. {
                let name = format!("t{number}");
                host.admin.deploy(&name, &host.component);
                setup::lead_to(&name, None);
                if ready.send(name).is_err() {
                    break;
                }
            }
        });
        Host {
            component,
            gateway,
            admin,
            client: agent(),
            folder,
            windows: Mutex::new(windows),
            _supervisor: supervisor,
        }
    }

    /// The name of a window that is deployed, has its routes, and is granted nothing.
    pub(super) fn window(&self) -> String {
        let windows = self
            .windows
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        // What the host has refused, or not answered in time, the thread that deploys has said.
        windows
            .recv()
            .unwrap_or_else(|_| panic!("the host does not take the window; see above"))
    }

    /// A place for a file of a window.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join("windows").join(name)
    }
}

/// A group of its own, where there are such.
trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(self, 0);
        self
    }
}

/// The host's program.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("HMS_BIN") {
        let program = PathBuf::from(program);
        let shown = program.display();
        assert!(program.is_file(), "HMS_BIN is {shown}, which is not a file");
        return program;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("hms"));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("the tests need the host: put `hms` on the PATH, or set HMS_BIN to where it is")
    })
}

/// The URLs of gateway and admin API, which the host says on its standard output.
fn announced(supervisor: &mut Child, hms: &Path, folder: &Path) -> (String, String) {
    let stdout = supervisor.stdout.take().map(BufReader::new);
    let mut lines = stdout
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(Result::ok);
    let (mut gateway, mut admin) = (None, None);
    for line in lines.by_ref() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("gateway"), Some(url)) => gateway = Some(url.to_owned()),
            (Some("admin"), Some(url)) => admin = Some(url.to_owned()),
            _ => {}
        }
        if let (Some(gateway), Some(admin)) = (&gateway, &admin) {
            let found = (gateway.clone(), admin.clone());
            // Goes on reading, so that the host meets no closed pipe.
            thread::spawn(move || lines.for_each(drop));
            return found;
        }
    }
    let said = fs::read_to_string(folder.join("host.log")).unwrap_or_default();
    panic!("{} does not serve:\n{said}", hms.display())
}

/// Waits until there is something.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?}, in vain: {what}"
        );
        thread::sleep(LOOK_EVERY);
    }
}

/// What could be written.
pub(super) fn made<T>(result: std::io::Result<T>, path: &Path) -> T {
    result.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}
