//! The pages for authors, walked as a reader does: in an empty folder outside of the repository,
//! each command typed and each file saved, in the order of the page, with the real `hms`.
//!
//! - ```` ```console ````: a line that begins with `$ ` is typed, and those below it are what it
//!   has to show. `…` is any text, and as a line any lines. With `fails` in the fence, what is
//!   typed has to fail; with `soon` it is typed until it shows that. `hms up` and `hms serve` go on
//!   in a terminal of their own, on free ports, as does `python3 -m http.server`; a block without
//!   `$ ` is what the host has to show next.
//! - ```` ```rust file=src/lib.rs ````: the file is saved, in the folder that commands are typed
//!   in.
//! - ```` ```text ````, or `elsewhere` in the fence: is read.
//!
//! A page is walked once for each language that it has blocks of: those with `in=js`, and files in
//! `js`. In a walk that is not in Rust, `hms new` gets `--lang`, as the pages say. Names of windows
//! are a page's own, because all pages build into one folder.

mod page;
mod pattern;
pub(crate) mod projects;
pub(crate) mod shell;

use hms_harness::{PATIENCE, root};
use page::{Block, Ends, Step, Typed};
use shell::Shell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A test for each page and language.
macro_rules! walks {
    ($($test:ident: $page:literal in $language:literal;)*) => {
        const WALKS: &[(&str, &str)] = &[$(($page, $language)),*];

        $(#[test]
        fn $test() {
            walk($page, $language);
        })*
    };
}

walks! {
    first_window: "docs/authors/first-window.md" in "rust";
    first_window_in_javascript: "docs/authors/first-window.md" in "js";
    first_window_in_typescript: "docs/authors/first-window.md" in "ts";
    first_window_in_python: "docs/authors/first-window.md" in "python";
    first_window_in_c: "docs/authors/first-window.md" in "c";
    store: "docs/authors/store.md" in "rust";
    store_in_javascript: "docs/authors/store.md" in "js";
    store_in_python: "docs/authors/store.md" in "python";
    store_in_c: "docs/authors/store.md" in "c";
    streams: "docs/authors/streams.md" in "rust";
    streams_in_javascript: "docs/authors/streams.md" in "js";
    streams_in_python: "docs/authors/streams.md" in "python";
    streams_in_c: "docs/authors/streams.md" in "c";
    errors: "docs/authors/errors.md" in "rust";
    errors_in_javascript: "docs/authors/errors.md" in "js";
    errors_in_python: "docs/authors/errors.md" in "python";
    errors_in_c: "docs/authors/errors.md" in "c";
    tests: "docs/authors/tests.md" in "rust";
    tests_in_javascript: "docs/authors/tests.md" in "js";
    tests_in_python: "docs/authors/tests.md" in "python";
    tests_in_c: "docs/authors/tests.md" in "c";
    events: "docs/authors/events.md" in "rust";
    events_in_javascript: "docs/authors/events.md" in "js";
    events_in_python: "docs/authors/events.md" in "python";
    events_in_c: "docs/authors/events.md" in "c";
    outgoing_calls: "docs/authors/outgoing-calls.md" in "rust";
    outgoing_calls_in_javascript: "docs/authors/outgoing-calls.md" in "js";
    outgoing_calls_in_python: "docs/authors/outgoing-calls.md" in "python";
    outgoing_calls_in_c: "docs/authors/outgoing-calls.md" in "c";
    limits: "docs/authors/limits.md" in "rust";
    limits_in_javascript: "docs/authors/limits.md" in "js";
    limits_in_c: "docs/authors/limits.md" in "c";
    debugging: "docs/authors/debugging.md" in "rust";
    debugging_in_javascript: "docs/authors/debugging.md" in "js";
    debugging_in_python: "docs/authors/debugging.md" in "python";
    debugging_in_c: "docs/authors/debugging.md" in "c";
    performance: "docs/authors/performance.md" in "rust";
    performance_in_javascript: "docs/authors/performance.md" in "js";
    performance_in_python: "docs/authors/performance.md" in "python";
    performance_in_c: "docs/authors/performance.md" in "c";
    versions: "docs/authors/versions.md" in "rust";
    projects: "docs/authors/projects.md" in "rust";
    coming_from: "docs/authors/coming-from.md" in "rust";
    coming_from_in_javascript: "docs/authors/coming-from.md" in "js";
    coming_from_in_c: "docs/authors/coming-from.md" in "c";
    wit_readme: "wit/README.md" in "rust";
    wit_readme_in_python: "wit/README.md" in "python";
}

fn walk(page: &str, language: &str) {
    if !projects::can_build(language) {
        return;
    }
    let mut shell = Shell::new();
    for block in page::blocks(&root().join(page)) {
        if block.is_for(language) {
            let place = format!("{page}:{}", block.line);
            step(&mut shell, &place, &block, language);
        }
    }
}

fn step(shell: &mut Shell, place: &str, block: &Block, language: &str) {
    match &block.step {
        Step::Read => {}
        Step::Write { path, text } => {
            shell.save(path, text);
            if path.ends_with("Cargo.toml") {
                let here = shell.here();
                projects::furnish(&here);
            }
        }
        Step::Shown(lines) => {
            if let Err(fault) = shell.until(lines) {
                panic!("{place}: {fault}");
            }
        }
        Step::Type { commands, ends } => {
            for typed in commands {
                type_in(shell, place, typed, *ends, language);
            }
        }
    }
}

fn type_in(shell: &mut Shell, place: &str, typed: &Typed, ends: Ends, language: &str) {
    let mut command = typed.command.clone();
    if command.starts_with("hms new ") && language != "rust" && !command.contains("--lang") {
        command = command.replace("hms new ", &format!("hms new --lang {language} "));
    }
    if command.starts_with("hms up") || command.starts_with("hms serve") {
        shell.start(&command);
        if let Err(fault) = shell.until(&typed.shows) {
            panic!("{place}: `{command}`: {fault}");
        }
        return;
    }
    if command.starts_with("python3 -m http.server") {
        return shell.serve(&command);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (shown, status) = shell.run(&command);
        let lines: Vec<&str> = shown.lines().collect();
        let as_said = typed.shows.is_empty() || pattern::all_fit(&typed.shows, &lines);
        if as_said && (status != 0) == (ends == Ends::Failing) {
            break;
        }
        if ends != Ends::Soon || Instant::now() > deadline {
            let wanted = typed.shows.join("\n");
            let logs = shell.logs();
            panic!(
                "{place}: `{command}` has to show\n{wanted}\n\
                 and shows, with status {status},\n{shown}\n--- the host ---\n{logs}"
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if command.starts_with("hms new ") {
        let here = shell.here();
        projects::furnish(&here);
    }
}

/// The pages that are walked.
fn pages() -> Vec<PathBuf> {
    let folder = root().join("docs/authors");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.push(root().join("wit/README.md"));
    pages.sort();
    pages
}

#[test]
fn every_page_is_walked_in_each_of_its_languages() {
    for page in pages() {
        let blocks = page::blocks(&page);
        let name = page
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let does = |block: &Block| !matches!(block.step, Step::Read);
        for language in ["rust", "js", "ts", "python", "c"] {
            let needed = match language {
                "rust" => blocks.iter().any(does),
                _ => blocks
                    .iter()
                    .any(|block| does(block) && block.is_of(language)),
            };
            let walked = WALKS.contains(&(&*name, language));
            assert_eq!(needed, walked, "{name} in {language}");
        }
    }
}

#[test]
fn window_of_each_page_has_a_name_of_its_own() {
    let mut names = Vec::new();
    for page in pages() {
        let blocks = page::blocks(&page).into_iter();
        for block in blocks.filter(|block| block.is_for("rust")) {
            let Step::Type { commands, .. } = block.step else {
                continue;
            };
            let made = commands
                .iter()
                .filter_map(|typed| typed.command.strip_prefix("hms new "));
            names.extend(made.map(|rest| rest.split(' ').next().unwrap().to_owned()));
        }
    }
    names.retain(|name| !name.starts_with('-'));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
}

#[test]
fn wrong_page_fails_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    for (block, fault) in [
        ("```console\n$ echo hello\nbye\n```", "has to show\nbye"),
        ("```console\n$ false\n```", "with status 1"),
        ("```console fails\n$ true\n```", "with status 0"),
        ("```console\nhms up: live\n```", "no host was started"),
        ("```rust\nfn main() {}\n```", "a block is"),
        (
            "```console lang=rust\n$ true\n```",
            "'lang=rust' is not known",
        ),
    ] {
        std::fs::write(&page, format!("# A page\n\n{block}\n")).unwrap();
        let page = page.to_str().unwrap();
        let walked = std::panic::catch_unwind(|| walk(page, "rust"));
        let why = *walked.unwrap_err().downcast::<String>().unwrap();
        assert!(why.contains("page.md:3: ") && why.contains(fault), "{why}");
    }
    std::fs::write(&page, "# A page\n\n```console\n$ echo hello\nhel…\n```\n").unwrap();
    walk(page.to_str().unwrap(), "rust");
}
