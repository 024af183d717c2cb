//! The terminals of a reader: one that commands are typed into, and one for each host.

use super::pattern;
use hms_harness::{PATIENCE, hms, root};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that a command may take, or what a host shows. 10 minutes: builds of all pages wait
/// for each other, on a loaded machine.
const LONGEST: Duration = Duration::from_secs(600);

/// What a command ends with, before its status.
const END: &str = "--- end of the command, with status";

/// The addresses of a host that are not named on its command line.
const ADDRESSES: [(&str, &str); 2] = [
    ("--gateway", "127.0.0.1:9000"),
    ("--admin", "127.0.0.1:9001"),
];

/// A bash in a folder that is empty at first, and the hosts that were started in it.
pub(crate) struct Shell {
    folder: TempDir,
    bash: Child,
    lines: Receiver<String>,
    hosts: Vec<Host>,
    /// What else was started in a terminal of its own.
    services: Vec<String>,
    /// Ports as the page names them, and those that are open in their place.
    ports: Vec<(String, String)>,
}

/// A host, in a terminal of its own.
struct Host {
    pid: String,
    /// What it shows.
    log: PathBuf,
    /// How many lines the page has had.
    read: usize,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Where output is no terminal curl says how far it is.
        fs::write(folder.path().join(".curlrc"), "silent\nshow-error\n").unwrap();
        fs::create_dir(folder.path().join("here")).unwrap();
        let program = hms();
        let python = root().join("sdk/python/.venv/bin");
        let tools = [program.parent().unwrap(), &python].map(|folder| folder.display().to_string());
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:{}", tools[0], tools[1]);
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HMS") || name.starts_with("CARGO_BUILD") {
                command.env_remove(&*name);
            }
        }
        for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        let mut bash = command
            .args(["--noprofile", "--norc"])
            .current_dir(folder.path().join("here"))
            .env("PATH", path)
            .env("CURL_HOME", folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("CLONE", root())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(bash.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut shell = Shell {
            folder,
            bash,
            lines,
            hosts: Vec::new(),
            services: Vec::new(),
            ports: Vec::new(),
        };
        shell.write("exec 2>&1\n");
        shell
    }

    fn write(&mut self, text: &str) {
        let mut stdin = self.bash.stdin.as_ref().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Runs a command to its end. Gives what it shows, as the page would say it, and its status.
    pub(crate) fn run(&mut self, command: &str) -> (String, i32) {
        let command = self.real(command);
        self.write(&format!(
            "{{ {command}\n}} </dev/null; printf '\\n{END} %s\\n' $?\n"
        ));
        let deadline = Instant::now() + LONGEST;
        let mut shown: Vec<String> = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("`{command}` does not end:\n{}", shown.join("\n"));
            };
            if let Some(status) = line.strip_prefix(END) {
                // The end begins a line of its own, and empty lines before it say nothing.
                while shown.last().is_some_and(String::is_empty) {
                    shown.pop();
                }
                return (self.told(&shown.join("\n")), status.trim().parse().unwrap());
            }
            shown.push(line);
        }
    }

    /// The folder that commands are typed in.
    pub(crate) fn here(&mut self) -> PathBuf {
        let (here, status) = self.run("pwd -P");
        assert_eq!(status, 0);
        PathBuf::from(here.trim())
    }

    /// Writes a file there, with the ports that are open.
    pub(crate) fn save(&mut self, path: &str, text: &str) {
        let file = self.here().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = self.real(text);
        fs::write(file, text).unwrap();
    }

    /// Starts `hms up` or `hms serve` on free ports, and waits until it is open.
    pub(crate) fn start(&mut self, command: &str) {
        let mut command = command.split(" #").next().unwrap_or_default().to_owned();
        let mut named = Vec::new();
        for (flag, usual) in ADDRESSES {
            if !command.contains(flag) {
                command.push_str(&format!(" {flag} {usual}"));
            }
            let behind = command.split(flag).nth(1).unwrap_or_default();
            let address = behind.split_whitespace().next().unwrap_or_default();
            named.push(address.to_owned());
            command = command.replace(address, "127.0.0.1:0");
        }
        let log = (self.folder.path()).join(format!("host-{}.log", self.hosts.len()));
        let (pid, _) = self.run(&format!("{command} >{} 2>&1 & echo $!", log.display()));
        self.hosts.push(Host {
            pid: pid.trim().to_owned(),
            log,
            read: 0,
        });
        let open = self.until(&["  gateway  http://…", "  admin    http://…"].map(str::to_owned));
        let text = open.unwrap_or_else(|fault| panic!("{command}: {fault}"));
        for (named, what) in named
            .into_iter()
            .zip(["  gateway  http://", "  admin    http://"])
        {
            let address = text.lines().find_map(|line| line.strip_prefix(what));
            let address = address.unwrap().to_owned();
            if named == ADDRESSES[1].1 {
                self.run(&format!("export HMS_ADMIN={address}"));
            }
            self.ports.push((named, address));
        }
        // The page may show these lines too.
        self.hosts.last_mut().unwrap().read = 0;
    }

    /// Starts a service in Python on a free port, such as Python's web server. It says which.
    pub(crate) fn serve(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let port = words.find(|word| word.parse::<u16>().is_ok()).unwrap();
        let command = command.replace(port, "0");
        let log = (self.folder.path()).join(format!("service-{}.log", self.services.len()));
        let started = format!(
            "PYTHONUNBUFFERED=1 {command} >{} 2>&1 & echo $!",
            log.display()
        );
        let (pid, _) = self.run(&started);
        self.services.push(pid.trim().to_owned());
        let deadline = Instant::now() + PATIENCE;
        let open = loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let behind = text.split_once(" port ").map(|(_, behind)| behind);
            if let Some((open, _)) = behind.and_then(|behind| behind.split_once([' ', '\n'])) {
                break open.to_owned();
            }
            assert!(Instant::now() < deadline, "{command}: {text}");
            std::thread::sleep(Duration::from_millis(20));
        };
        self.ports
            .push((format!("127.0.0.1:{port}"), format!("127.0.0.1:{open}")));
    }

    /// Waits until the last host has shown these lines, one after the other. Gives all it has
    /// shown.
    pub(crate) fn until(&mut self, wanted: &[String]) -> Result<String, String> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let Some(host) = self.hosts.last() else {
                return Err("no host was started".into());
            };
            let running = state(&host.pid).is_some_and(|state| state != 'Z');
            let text = self.told(&fs::read_to_string(&host.log).unwrap_or_default());
            let lines: Vec<&str> = text.lines().skip(host.read).collect();
            match pattern::behind(wanted, &lines) {
                Ok(read) => {
                    self.hosts.last_mut().unwrap().read += read;
                    return Ok(text);
                }
                Err(missing) if !running || Instant::now() > deadline => {
                    return Err(format!("the host has not shown\n  {missing}\nbut\n{text}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// What all hosts have shown.
    pub(crate) fn logs(&self) -> String {
        let logs = self.hosts.iter().map(|host| fs::read_to_string(&host.log));
        logs.map(Result::unwrap_or_default).collect()
    }

    /// A text of the page, with the ports that are open.
    fn real(&self, text: &str) -> String {
        let replace = |text: String, (named, open): &(String, String)| {
            let port = |address: &str| address.replace("127.0.0.1", "localhost");
            (text.replace(named, open)).replace(&port(named), &port(open))
        };
        self.ports.iter().fold(text.to_owned(), replace)
    }

    /// What was shown, as the page says it.
    fn told(&self, text: &str) -> String {
        let replace = |text: String, (named, open): &(String, String)| text.replace(open, named);
        self.ports.iter().fold(text.to_owned(), replace)
    }
}

/// The state of a process, as the kernel says it.
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn signal(name: &str, pid: &str) {
    let mut kill = Command::new("kill");
    let _ = kill.args([name, "--", pid]).stderr(Stdio::null()).status();
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Asked to, a host ends the build that it has started.
        let hosts = self.hosts.iter().map(|host| &host.pid);
        for pid in hosts.chain(&self.services) {
            signal("-TERM", pid);
        }
        let deadline = Instant::now() + PATIENCE;
        let runs = |host: &Host| state(&host.pid).is_some_and(|state| state != 'Z');
        while self.hosts.iter().any(runs) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // At the end of its input bash ends, if no command is at work.
        drop(self.bash.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.bash.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal("-KILL", &format!("-{}", self.bash.id()));
        let _ = self.bash.wait();
    }
}
