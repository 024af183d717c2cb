//! `hms up`: what an author saves is live, and what does not build harms nobody.

use hms_harness::host::open_route;
use hms_harness::{Host, Options, PATIENCE, eventually, guest};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BROKEN: &str = "Ok(Response::text(200, no_such_thing))";

/// A workspace of the author's own, somewhere, with a window that is written with our SDK.
struct Workspace(TempDir);

impl Workspace {
    /// With one window. Its name is this test's alone: what is built goes by its name into a folder
    /// that all tests share.
    fn new(window: &str, body: &str) -> Self {
        let ours = hms_harness::root();
        let workspace = Workspace(tempfile::tempdir().unwrap());
        // The same profile and the same lock file: what the tests' own guests are built from is
        // used.
        let manifest = fs::read_to_string(ours.join("components/Cargo.toml")).unwrap();
        let members = manifest.lines().find(|line| line.starts_with("members = "));
        let members = members.expect("the workspace lists its members");
        let sdk = format!("\"{}\"", ours.join("sdk/rust").display());
        let manifest = manifest
            .replace(members, "members = [\"*\"]")
            .replace("\"../sdk/rust\"", &sdk);
        fs::write(workspace.dir().join("Cargo.toml"), manifest).unwrap();
        let lock = ours.join("components/Cargo.lock");
        fs::copy(lock, workspace.dir().join("Cargo.lock")).unwrap();
        workspace.add(window, body);
        workspace
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn add(&self, window: &str, body: &str) {
        let src = self.dir().join(window).join("src");
        fs::create_dir_all(&src).unwrap();
        let manifest = format!(
            "[package]\nname = \"{window}\"\nedition.workspace = true\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nhms-window.workspace = true\n"
        );
        fs::write(src.parent().unwrap().join("Cargo.toml"), manifest).unwrap();
        self.save(window, body);
    }

    fn save(&self, window: &str, body: &str) {
        let source = format!(
            "use hms_window::{{Problem, Request, Response, window}};\n\nwindow!(handle);\n\n\
             async fn handle(_: Request) -> Result<Response, Problem> {{\n    {body}\n}}\n"
        );
        fs::write(self.dir().join(window).join("src/lib.rs"), source).unwrap();
    }

    /// Gives it a build script that goes on for as long as it is held.
    fn add_build_script(&self, window: &str) {
        let script = "fn main() {\n    while std::path::Path::new(\".hold\").exists() {\n        \
                      std::thread::sleep(std::time::Duration::from_millis(10));\n    }\n}\n";
        fs::write(self.dir().join(window).join("build.rs"), script).unwrap();
    }

    /// Of no interest to the watch, since it is hidden.
    fn hold(&self, window: &str) {
        fs::write(self.dir().join(window).join(".hold"), "").unwrap();
    }

    fn let_go(&self, window: &str) {
        fs::remove_file(self.dir().join(window).join(".hold")).unwrap();
    }

    async fn up(&self) -> Host {
        guest("payments").await;
        Host::start_with(Options {
            up: Some(self.dir().to_owned()),
            routes: vec![
                ("greeter.yaml", open_route("greeter")),
                ("second.yaml", open_route("second")),
                ("replier.yaml", open_route("replier")),
            ],
            args: Vec::new(),
        })
        .await
    }
}

fn says(text: &str) -> String {
    format!("Ok(Response::text(200, \"{text}\"))")
}

async fn answers(host: &Host, window: &str, text: &str) {
    eventually(&format!("{window} answers '{text}'"), || async {
        (host.get(&format!("/{window}")).await.text() == text).then_some(())
    })
    .await;
}

async fn logged(host: &Host, times: usize, text: &str) {
    eventually(&format!("'{text}' is said {times} times"), || async {
        (host.log().matches(text).count() >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn saved_source_goes_live_and_a_failed_build_keeps_the_old_release() {
    let workspace = Workspace::new("greeter", BROKEN);
    let host = workspace.up().await;
    logged(&host, 1, "cannot find value `no_such_thing`").await;
    logged(&host, 1, "fix them and save").await;
    assert_eq!(host.get("/greeter").await.problem(), "window-not-deployed");

    workspace.save("greeter", &says("one"));
    answers(&host, "greeter", "one").await;
    logged(&host, 1, "greeter changed: building…").await;
    logged(&host, 1, "greeter release 1 is live (").await;

    workspace.save("greeter", BROKEN);
    logged(&host, 2, "cannot find value `no_such_thing`").await;
    // A window that builds is not held up by one that does not.
    workspace.add("second", &says("two"));
    answers(&host, "second", "two").await;
    assert_eq!(host.get("/greeter").await.text(), "one");

    workspace.save("greeter", &says("three"));
    answers(&host, "greeter", "three").await;
    let live = host.window("greeter").await.live.unwrap();
    assert_eq!((live.number, &*live.by), (2, "hms up"));
}

#[tokio::test]
async fn panic_is_told_with_its_message_then_the_authors_lines() {
    let body = "let fees: Vec<u32> = Vec::new();\n    let third = fees.get(2).expect(\"a third fee\");\n    \
                Ok(Response::text(200, third.to_string()))";
    let workspace = Workspace::new("panicker", body);
    let mut host = Host::start_with(Options {
        up: Some(workspace.dir().to_owned()),
        routes: vec![("panicker.yaml", open_route("panicker"))],
        args: Vec::new(),
    })
    .await;
    logged(&host, 1, "panicker release 1 is live").await;
    let failed = host.get("/panicker").await;
    assert_eq!(failed.problem(), "instance-trapped");
    let id = failed.json()["request-id"].as_str().unwrap().to_owned();
    logged(&host, 1, "panicker | failed: ").await;
    logged(&host, 1, &id).await;
    let log = host.log();
    let lines: Vec<&str> = (log.lines())
        .filter_map(|line| Some(line.split_once(" panicker | ")?.1))
        .collect();
    let at = |part: &str| {
        let found = lines.iter().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {lines:#?}"))
    };
    let (message, trap) = (at("a third fee"), at("failed: "));
    assert!(message < trap, "{lines:#?}");
    // The panic's own functions are left out, and the SDK's below the author's.
    assert!(lines[trap + 1].contains("src/lib.rs:7"), "{lines:#?}");
    assert!(
        !log.contains("core::panicking") && !log.contains("RUST_BACKTRACE"),
        "{lines:#?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("sdk/src/serve.rs")),
        "{lines:#?}"
    );
    let shown = host.cli("logs", &["panicker"]).await;
    assert!(
        String::from_utf8(shown.stdout)
            .unwrap()
            .contains("src/lib.rs:7")
    );
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn save_during_a_build_is_built_next_and_host_shutdown_ends_the_build() {
    let workspace = Workspace::new("replier", &says("first"));
    workspace.add_build_script("replier");
    let mut host = workspace.up().await;
    answers(&host, "replier", "first").await;

    workspace.hold("replier");
    workspace.save("replier", &says("second"));
    build_script_of(&host).await;
    workspace.save("replier", &says("third"));
    workspace.let_go("replier");
    answers(&host, "replier", "third").await;
    logged(&host, 2, "replier changed: building…").await;

    workspace.hold("replier");
    workspace.save("replier", &says("fourth"));
    let cargo = build_script_of(&host).await;
    assert!(host.terminate().await.success());
    // It would wait for as long as it is held.
    eventually("cargo and what it started have ended", || async {
        members(cargo).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn closed_terminal_ends_the_host_and_the_running_build() {
    let workspace = Workspace::new("waiter", &says("first"));
    workspace.add_build_script("waiter");
    let mut host = workspace.up().await;
    workspace.hold("waiter");
    workspace.save("waiter", &says("second"));
    let cargo = build_script_of(&host).await;
    for _ in 0..2 {
        host.signal("HUP");
    }
    assert!(host.ended().await.success());
    eventually("cargo and what it started have ended", || async {
        members(cargo).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn missing_build_tools_are_reported_with_what_to_install() {
    let workspace = Workspace::new("greeter", BROKEN);
    let nothing = tempfile::tempdir().unwrap();
    let said = up_with_path(&workspace, nothing.path()).await;
    assert!(said.contains("install Rust with rustup"), "{said}");

    // A rustc that has no library for the target, and no rustup to add it.
    let rustc = nothing.path().join("rustc");
    fs::write(&rustc, "#!/bin/sh\necho /nowhere/lib\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&rustc, executable).unwrap();
    let said = up_with_path(&workspace, nothing.path()).await;
    assert!(
        said.contains("wasm32-wasip2") && said.contains("rustup was not found"),
        "{said}"
    );
}

/// What `hms up` says on stderr before it fails.
async fn up_with_path(workspace: &Workspace, path: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("routes")).unwrap();
    let mut command = Command::new(hms_harness::hms());
    command
        .args(["up", "--gateway", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg(workspace.dir())
        .current_dir(folder.path())
        .env("PATH", path);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output: Output = tokio::time::timeout(PATIENCE, ended)
        .await
        .unwrap()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    name: String,
}

/// Every process that runs.
fn processes() -> Vec<Process> {
    let stat = |path: PathBuf| {
        let text = fs::read_to_string(path.join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let mut fields = tail.split_whitespace();
        let ended = fields.next()? == "Z";
        let process = Process {
            pid: pid.parse().ok()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            name: name.to_owned(),
        };
        (!ended).then_some(process)
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| stat(entry.path())).collect()
}

/// Waits until a build of that host has come to a build script; gives its process group.
async fn build_script_of(host: &Host) -> u32 {
    eventually("a build script is at work", || async {
        let all = processes();
        // The group of a build is its own.
        let build = all
            .iter()
            .find(|it| it.parent == host.pid() && it.group == it.pid)?;
        let script = |it: &&Process| it.group == build.group && it.name.starts_with("build-script");
        all.iter().find(script).map(|it| it.group)
    })
    .await
}

/// The processes of a group.
fn members(group: u32) -> Vec<u32> {
    let all = processes().into_iter();
    all.filter(|it| it.group == group)
        .map(|it| it.pid)
        .collect()
}
