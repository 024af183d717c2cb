//! What a new project says to type: its README.md up to `hms test`, and what `hms up` says to try.
//! Each line has to do what a newcomer expects of it, in the order of the page.
//!
//! A request has to be answered 2xx, or with the status that the comment behind it begins with:
//! `# 400: …`. Every other command has to succeed.

use crate::course::shell::Shell;
use std::fs;
use std::path::Path;

/// What curl says after each answer, on stderr, where no pipe takes it.
const CURLRC: &str = "silent\nshow-error\nwrite-out = \"%{stderr}answered %{http_code}\\n\"\n";

/// Types it all in this project, whose tools are installed.
pub(crate) fn walk(project: &Path) {
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    let commands = commands(&readme);
    let is_service = |command: &&String| command.starts_with("python3 ");
    let mut shell = Shell::new();
    shell.run(&format!("cd '{}'", project.display()));
    // Services first: their ports are in the files that the host reads.
    for service in commands.iter().filter(is_service) {
        shell.serve(service.trim_end_matches(['&', ' ']));
    }
    for folder in ["routes", "windows"] {
        for file in fs::read_dir(project.join(folder)).into_iter().flatten() {
            let path = file.unwrap().path();
            shell.save(path.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
        }
    }
    ask_for_the_status(&mut shell);
    assert_eq!(commands.first().map(String::as_str), Some("hms up"));
    shell.start("hms up");
    let shown = shell.until(&["hms up: watching: …".to_owned()]).unwrap();
    for command in commands[1..].iter().filter(|one| !is_service(one)) {
        type_in(&mut shell, command);
    }
    let to_try: Vec<&str> = shown
        .lines()
        .skip_while(|line| *line != "to try:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .collect();
    assert!(
        to_try.iter().any(|line| line.starts_with("curl ")),
        "{shown}"
    );
    for line in to_try {
        type_in(&mut shell, line);
    }
}

/// Has curl say it.
fn ask_for_the_status(shell: &mut Shell) {
    let (_, status) = shell.run(&format!("printf '%s' '{CURLRC}' >\"$CURL_HOME/.curlrc\""));
    assert_eq!(status, 0);
}

fn type_in(shell: &mut Shell, command: &str) {
    let (shown, status) = shell.run(command);
    let said = format!("`{command}`: {shown}\n--- the host ---\n{}", shell.logs());
    assert_eq!(status, 0, "{said}");
    if !command.contains("curl ") {
        return;
    }
    let answered = shown.lines().find_map(|line| line.split_once("answered "));
    let (_, answered) = answered.unwrap_or_else(|| panic!("{said}"));
    let comment = command.split_once(" # ").map_or("", |(_, comment)| comment);
    match comment.split(':').next().unwrap_or_default().parse::<u16>() {
        Ok(expected) => assert_eq!(answered, expected.to_string(), "{said}"),
        Err(_) => assert!(answered.starts_with('2'), "{said}"),
    }
}

/// The commands of a README, to `hms test`: indented lines, of which a backslash joins two. `hms
/// up` is without its comment, those of others are left.
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.take_while(|line| !line.starts_with("hms test"));
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let end = line.strip_suffix('\\');
        let text = end.unwrap_or(line);
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => command.push_str(text.trim_start()),
            None => commands.push(text.to_owned()),
        }
        goes_on = end.is_some();
    }
    for command in &mut commands {
        if command.starts_with("hms up") || command.starts_with("python3 ") {
            let bare = command.split(" #").next().unwrap_or_default().trim_end();
            *command = bare.to_owned();
        }
    }
    commands
}

#[test]
fn commands_are_those_before_the_tests_and_joined_where_they_go_on() {
    let readme = "# A\n\n    hms up      # builds\n    python3 a.py 8080 &   # a service\n    curl \\\n      \
                  -d a b    # 400: why\n\n    hms test    # c\n\n    make\n";
    let expected = ["hms up", "python3 a.py 8080 &", "curl -d a b    # 400: why"];
    assert_eq!(commands(readme), expected);
}

#[test]
fn line_that_does_not_do_what_is_expected_of_it_fails() {
    let mut shell = Shell::new();
    ask_for_the_status(&mut shell);
    shell.serve("python3 -m http.server 9300 --bind 127.0.0.1");
    for (line, is_good) in [
        ("true", true),
        ("false", false),
        ("curl http://127.0.0.1:9300/", true),
        ("curl http://127.0.0.1:9300/    # 404: not there", false),
        ("curl http://127.0.0.1:9300/none", false),
        ("curl http://127.0.0.1:9300/none    # 404: not there", true),
        ("A=$(curl http://127.0.0.1:9300/none | cut -c 1)", false),
    ] {
        let typed = std::panic::AssertUnwindSafe(|| type_in(&mut shell, line));
        assert_eq!(std::panic::catch_unwind(typed).is_ok(), is_good, "{line}");
    }
}
