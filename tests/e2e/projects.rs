//! Windows of any toolchain: `hms build`, `hms up` and `hms test` over folders with a window.toml.

use hms_harness::{Host, Options, eventually, guest, guests};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder of the author's own, with one window that `sh` makes of a component beside it.
struct Project {
    folder: TempDir,
    name: &'static str,
}

impl Project {
    async fn new(name: &'static str) -> Self {
        let project = Project {
            folder: tempfile::tempdir().unwrap(),
            name,
        };
        let dir = project.dir();
        fs::create_dir_all(dir.join("routes")).unwrap();
        fs::write(dir.join("routes").join(format!("{name}.yaml")), route(name)).unwrap();
        project.build_by("mkdir -p dist && cp source.wasm dist/made.wasm", "");
        project.save(&guest("hello-wstd").await);
        project
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("windows-of-mine").join(self.name)
    }

    fn build_by(&self, command: &str, more: &str) {
        let name = self.name;
        let text = format!(
            "name = \"{name}\"\nlang = \"other\"\nbuild = \"{command}\"\nwasm = \"dist/made.wasm\"\n{more}"
        );
        fs::write(self.dir().join("window.toml"), text).unwrap();
    }

    fn save(&self, wasm: &[u8]) {
        fs::write(self.dir().join("source.wasm"), wasm).unwrap();
    }

    async fn up(&self) -> Host {
        Host::start_with(Options {
            up: Some(self.folder.path().to_owned()),
            routes: vec![("other.yaml", route("other"))],
            args: Vec::new(),
        })
        .await
    }

    /// Runs a verb that needs no host.
    async fn hms(&self, args: &[&str]) -> Output {
        let mut command = Command::new(hms_harness::hms());
        command
            .args(args)
            .current_dir(self.dir())
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

fn route(window: &str) -> String {
    format!("uri: /{window}/**\nupstream: http://hms-svc-{window}\nstrip-prefix: /{window}\n")
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

async fn logged(host: &Host, times: usize, text: &str) {
    eventually(&format!("'{text}' is said {times} times"), || async {
        (host.log().matches(text).count() >= times).then_some(())
    })
    .await;
}

async fn release(host: &Host, window: &str, number: u64) {
    eventually(&format!("release {number} of {window} is live"), || async {
        let live = host.window(window).await.live;
        live.is_some_and(|live| live.number == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn window_of_any_toolchain_is_served_with_its_own_routes_and_grants_after_each_save() {
    let project = Project::new("fees").await;
    let host = project.up().await;
    release(&host, "fees", 1).await;
    assert_eq!(host.get("/fees").await.status, 200);

    let wasm = guest("hello-wstd").await;
    project.save(&guests::variant(&wasm, "two"));
    release(&host, "fees", 2).await;
    logged(&host, 1, "fees release 2 is live (").await;

    // A build that fails keeps the old release, and says what is missing.
    project.build_by("no-such-tool --fast", "");
    logged(&host, 1, "fees was not built: no-such-tool was not found").await;
    logged(&host, 1, "fix them and save").await;
    assert_eq!(host.get("/fees").await.status, 200);
    project.build_by("sh -c 'exit 3'", "");
    logged(&host, 1, "`sh -c 'exit 3'` ended with exit status: 3").await;
    project.build_by(
        "mkdir -p dist && cp source.wasm dist/made.wasm",
        "watch = [\"source.wasm\"]\n",
    );
    project.save(&guests::variant(&wasm, "three"));
    release(&host, "fees", 3).await;

    // What is not watched starts no build; routes and grants are followed by themselves.
    fs::write(project.dir().join("notes.txt"), "x").unwrap();
    fs::write(
        project.dir().join("routes/more.yaml"),
        route("fees").replace("/fees", "/more"),
    )
    .unwrap();
    eventually("the new route is live", || async {
        (host.get("/more").await.status == 200).then_some(())
    })
    .await;
    let grants = project.dir().join("windows");
    fs::create_dir(&grants).unwrap();
    fs::write(grants.join("fees.yaml"), "config: {currency: EUR}\n").unwrap();
    logged(
        &host,
        1,
        "windows-of-mine/fees/windows/fees.yaml\" window=fees",
    )
    .await;
    let log = host.log();
    assert!(!log.contains("notes.txt"), "{log}");

    // Another file of the same name is refused, and takes nothing over.
    host.write_route("fees.yaml", &route("fees").replace("/fees", "/stolen"));
    let refused = eventually("the second route of that name is refused", || async {
        let shown = said(&host.cli("routes", &[]).await);
        shown.contains("has the same name").then_some(shown)
    })
    .await;
    assert!(refused.contains("windows-of-mine"), "{refused}");
}

#[tokio::test]
async fn build_that_writes_its_own_sources_is_not_repeated_for_ever() {
    let project = Project::new("looping").await;
    project.build_by(
        "date +%N > stamp.txt && mkdir -p dist && cp source.wasm dist/made.wasm",
        "",
    );
    let host = project.up().await;
    release(&host, "looping", 1).await;
    logged(&host, 1, "stamp.txt changed during each of the last builds").await;
    let builds = || host.log().matches("looping changed: building").count();
    let before = builds();
    // A build takes far less, and each would begin with the end of the one before. A save by hand
    // instead of the wait would be built together with them.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(builds() <= before + 1, "{}", host.log());
    // It is still a source when somebody else writes it.
    fs::write(project.dir().join("stamp.txt"), "by hand").unwrap();
    logged(&host, before + 1, "looping changed: building").await;
}

#[tokio::test]
async fn saves_during_five_builds_in_a_row_are_built() {
    let project = Project::new("slow").await;
    let write = |text: &str| fs::write(project.dir().join("text.txt"), text).unwrap();
    let built = || fs::read_to_string(project.dir().join("dist/text.txt")).unwrap_or_default();
    write("first");
    // What is saved after the copy is in the next build.
    project.build_by(
        "mkdir -p dist && cp text.txt dist/ && sleep 1 && cp source.wasm dist/made.wasm",
        "",
    );
    let host = project.up().await;
    release(&host, "slow", 1).await;
    write("second");
    for text in ["third", "fourth", "fifth", "sixth"] {
        let before = built();
        hms_harness::eventually("a build has begun", || async {
            (built() != before).then_some(())
        })
        .await;
        write(text);
    }
    hms_harness::eventually("the last save is built", || async {
        (built() == "sixth").then_some(())
    })
    .await;
}

#[tokio::test]
async fn build_prints_what_it_made_and_says_what_is_missing() {
    let project = Project::new("built").await;
    let built = project.hms(&["build"]).await;
    let text = said(&built);
    assert!(
        built.status.success() && text.contains("built  dist/made.wasm  "),
        "{text}"
    );

    project.build_by("componentize-py-of-tests -w x", "");
    let text = said(&project.hms(&["build"]).await);
    assert!(
        text.contains("componentize-py-of-tests was not found: install it"),
        "{text}"
    );
    project.build_by("true; wasm-tool-of-tests x", "");
    let text = said(&project.hms(&["build"]).await);
    assert!(
        text.contains("wasm-tool-of-tests was not found: install it"),
        "{text}"
    );
    fs::remove_dir_all(project.dir().join("dist")).unwrap();
    project.build_by("true", "");
    let text = said(&project.hms(&["build"]).await);
    assert!(
        text.contains("made no") && text.contains("correct 'wasm'"),
        "{text}"
    );

    fs::write(project.dir().join("window.toml"), "biuld = \"make\"\n").unwrap();
    let failed = project.hms(&["build"]).await;
    let text = said(&failed);
    assert!(!failed.status.success());
    assert!(
        text.contains("window.toml:1: unknown field 'biuld', did you mean 'build'?"),
        "{text}"
    );

    let nothing = tempfile::tempdir().unwrap();
    let dir = nothing.path().to_str().unwrap();
    for verb in ["build", "up", "test"] {
        let text = said(&project.hms(&[verb, dir]).await);
        assert!(text.contains("there is no window in"), "{verb}: {text}");
    }
}

#[tokio::test]
async fn ordinary_library_is_told_how_to_become_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let package = |dir: &Path| {
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::write(dir.join("src/lib.rs"), "").unwrap();
        // Programs for cargo, and no windows.
        fs::create_dir_all(dir.join("tests")).unwrap();
        fs::write(dir.join("tests/http.rs"), "").unwrap();
        fs::write(dir.join("build.rs"), "fn main() {}\n").unwrap();
        let manifest = "[package]\nname = \"fees\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        fs::write(dir.join("window.toml"), "lang = \"rust\"\n").unwrap();
    };
    package(&folder.path().join("fees"));
    let mut command = Command::new(hms_harness::hms());
    command.arg("build").arg(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = said(&output);
    assert!(!output.status.success());
    assert!(
        text.contains("fees/Cargo.toml: no window is built of 'fees'"),
        "{text}"
    );
    assert!(
        text.contains("add crate-type = [\"cdylib\"] below [lib]"),
        "{text}"
    );
}

#[tokio::test]
async fn tests_of_a_window_run_beside_a_host_of_their_own_and_give_their_status() {
    let project = Project::new("tested").await;
    let script = "#!/bin/sh\nset -e\ncurl -sf \"$HMS_URL/tested\" > answer\n\
                  curl -sf -H \"Authorization: Bearer $HMS_ADMIN_TOKEN\" \"http://$HMS_ADMIN/windows\" > windows\n\
                  test -n \"$HMS_TOKEN\"\n\"$HMS_BIN\" windows > shown\n";
    fs::write(project.dir().join("check.sh"), script).unwrap();
    project.build_by(
        "mkdir -p dist && cp source.wasm dist/made.wasm",
        "test = \"sh check.sh\"\n",
    );
    let passed = project.hms(&["test"]).await;
    assert!(passed.status.success(), "{}", said(&passed));
    let shown = fs::read_to_string(project.dir().join("shown")).unwrap();
    assert!(shown.contains("tested"), "{shown}");

    let command = "curl -s $HMS_URL/tested; echo $HMS_DATA > data; exit 7";
    let failed = project.hms(&["test", ".", "--command", command]).await;
    assert_eq!(failed.status.code(), Some(7), "{}", said(&failed));
    let data = fs::read_to_string(project.dir().join("data")).unwrap();
    assert!(
        !Path::new(data.trim()).exists(),
        "its data folder is removed"
    );
}

#[tokio::test]
async fn interrupt_ends_build_and_tests_with_all_that_they_started() {
    let project = Project::new("stopped").await;
    // What it starts is not ended by a signal to the shell alone.
    let endless = "sleep 1000 & echo $! > started; wait";
    project.build_by(endless, "test = \"true\"\n");
    project.interrupted(&["build"]).await;
    project.interrupted(&["test"]).await;

    project.build_by("mkdir -p dist && cp source.wasm dist/made.wasm", "");
    project
        .interrupted(&["test", ".", "--command", endless])
        .await;
}

impl Project {
    /// Runs a verb, sends it SIGINT once `started` has the id of a process, and waits for its end
    /// and for that of the process.
    async fn interrupted(&self, args: &[&str]) {
        let started = self.dir().join("started");
        let _ = fs::remove_file(&started);
        let mut verb = tokio::process::Command::new(hms_harness::hms())
            .args(args)
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let left = eventually("it has started something", || async {
            let pid = fs::read_to_string(&started).ok()?;
            pid.ends_with('\n').then(|| pid.trim().to_owned())
        })
        .await;
        let id = verb.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        let status = verb.wait().await.unwrap();
        assert_eq!(status.code(), Some(130), "{args:?}");
        eventually("what it started has ended", || async {
            let state = fs::read_to_string(format!("/proc/{left}/stat"));
            // A zombie has ended too: nobody has asked for its status yet.
            state
                .map_or(true, |stat| stat.contains(") Z "))
                .then_some(())
        })
        .await;
    }
}
