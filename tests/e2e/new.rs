//! `hms new`: a folder that builds, passes its tests and serves, outside of the repository.

use hms_harness::{Host, Options, guests};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// `hms new` with these arguments, in this folder.
fn new(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(hms_harness::hms());
    command.arg("new").args(args).current_dir(folder);
    command.output().unwrap()
}

fn made(folder: &Path, args: &[&str]) -> String {
    let output = new(folder, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let output = new(folder, args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Cargo in a project. All projects share a folder of what is built, so that the crates that they
/// have in common are built once.
fn cargo(project: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
        .args(args)
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target())
        .env("HMS_BIN", hms_harness::hms());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}: {said}\n{told}");
    output
}

fn target() -> PathBuf {
    guests::target().join("new")
}

/// Has the project use the versions of the guests' lock file, which are on this machine.
fn with_our_lock_file(project: &Path) {
    let lock = hms_harness::root().join("components/Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock")).unwrap();
}

/// The templates of a language, as `hms new --list --json` has them.
fn templates(lang: &str) -> Vec<String> {
    let listed: Value = serde_json::from_str(&made(Path::new("/"), &["--list", "--json"])).unwrap();
    let all = listed["templates"].as_array().unwrap().iter();
    let has = |it: &&Value| it["lang"].as_array().unwrap().iter().any(|it| it == lang);
    all.filter(has)
        .map(|it| it["template"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn new_project_has_its_name_in_files_and_texts_and_says_what_to_do_next() {
    let place = TempDir::new().unwrap();
    let said = made(place.path(), &["parking-fees"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(
        said.contains("cd parking-fees\n") && said.contains("hms up"),
        "{said}"
    );
    assert_eq!(files(place.path()), ["parking-fees"]);

    let project = place.path().join("parking-fees");
    assert_eq!(
        files(&project),
        [
            ".cargo",
            ".gitignore",
            "Cargo.toml",
            "README.md",
            "clippy.toml",
            "routes",
            "src",
            "tests",
            "vendor",
            "windows"
        ]
    );
    assert_eq!(files(&project.join("routes")), ["parking-fees.yaml"]);
    assert_eq!(files(&project.join("windows")), ["parking-fees.yaml"]);
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"parking-fees\""), "{manifest}");
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    assert!(readme.contains("release/parking_fees.wasm"), "{readme}");
    assert!(!readme.contains("{{"), "{readme}");
    // It belongs to no workspace of ours.
    let kit = fs::read_to_string(project.join("vendor/hms-window/Cargo.toml")).unwrap();
    assert!(!kit.contains("\nworkspace = "), "{kit}");
    assert!(
        project
            .join("vendor/hms-window/wit/deps/http.wit")
            .is_file()
    );
}

#[test]
fn new_project_overwrites_nothing() {
    let place = TempDir::new().unwrap();
    let kept = place.path().join("fees/notes.txt");
    fs::create_dir(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "mine").unwrap();
    let said = refused(place.path(), &["fees"]);
    assert!(
        said.contains("fees is not empty; nothing was written"),
        "{said}"
    );
    assert_eq!(files(kept.parent().unwrap()), ["notes.txt"]);
    let said = refused(place.path(), &["fees", "fees/notes.txt"]);
    assert!(said.contains("is a file; nothing was written"), "{said}");

    // A folder that is empty, or has nothing but a repository, is as good as none.
    fs::create_dir_all(place.path().join("mine/.git")).unwrap();
    made(&place.path().join("mine"), &["fees", "."]);
    assert!(place.path().join("mine/src/lib.rs").is_file());
    assert!(
        !files(&place.path().join("mine"))
            .iter()
            .any(|name| name.contains("hms-new"))
    );
    made(place.path(), &["fees", "some/where/else"]);
    assert!(place.path().join("some/where/else/src/lib.rs").is_file());
}

#[test]
fn new_project_inside_of_a_cargo_workspace_says_what_cargo_needs() {
    let place = TempDir::new().unwrap();
    fs::write(
        place.path().join("Cargo.toml"),
        "[workspace]\nmembers = [\"*\"]\n",
    )
    .unwrap();
    let said = made(place.path(), &["fees"]);
    assert!(said.contains("Cargo.toml is a workspace"), "{said}");
}

#[test]
fn name_language_and_template_that_cannot_be_are_refused_with_what_there_is() {
    let place = TempDir::new().unwrap();
    for (args, why) in [
        (&["Fees"] as &[&str], "lower-case letters"),
        (&["7up"], "begin it with a letter"),
        (&["match"], "means something else in Rust"),
        (&["http"], "means something else in Rust"),
        (
            &["fees", "--lang", "perl"],
            "there is: rust, js, ts, python, c",
        ),
        (
            &["fees", "--template", "crudd"],
            "there is no template 'crudd'; Rust has http",
        ),
        (&[], "<NAME>"),
    ] {
        let said = refused(place.path(), args);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    assert!(files(place.path()).is_empty());
}

#[test]
fn list_names_every_template_and_who_has_it() {
    let said = made(Path::new("/"), &["--list"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 8, "{said}");
    assert!(
        lines[1].starts_with("http") && lines[1].contains("rust"),
        "{said}"
    );
    assert!(templates("rust").contains(&"http".to_owned()));
}

#[tokio::test]
async fn new_rust_project_is_built_deployed_and_answers() {
    let place = TempDir::new().unwrap();
    made(place.path(), &["fees"]);
    let project = place.path().join("fees");
    with_our_lock_file(&project);
    let built = project.clone();
    let args = ["build", "--release", "--target", "wasm32-wasip2"];
    let building = tokio::task::spawn_blocking(move || cargo(&built, &args));
    building.await.unwrap();
    let wasm = fs::read(target().join("wasm32-wasip2/release/fees.wasm")).unwrap();
    let route = fs::read_to_string(project.join("routes/fees.yaml")).unwrap();
    let host = Host::start_with(Options {
        routes: vec![("fees.yaml", route)],
        ..Options::default()
    })
    .await;
    host.deploy("fees", &wasm).await;
    assert_eq!(host.get("/fees?name=alice").await.text(), "hello alice\n");
}

#[test]
fn every_rust_template_passes_its_tests_and_answers_as_its_readme_says() {
    for template in templates("rust") {
        let place = TempDir::new().unwrap();
        let name = format!("my-{template}");
        made(place.path(), &[&name, "--template", &template]);
        let project = place.path().join(&name);
        with_our_lock_file(&project);
        let output = cargo(&project, &["test"]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("test result: ok. "), "{template}: {told}");
        symlink(target(), project.join("target")).unwrap();
        crate::readme::walk(&project);
    }
}
