//! What a page has its reader do: its fenced blocks, in their order.

use std::path::Path;

/// The languages of windows, as `hms new --lang` and the fences name them.
const LANGUAGES: [&str; 5] = ["rust", "js", "ts", "python", "c"];

/// A fenced block.
pub(super) struct Block {
    /// The number of its first line in the page.
    pub line: usize,
    /// The languages in whose walks it is done; all, where there are none.
    only: Vec<String>,
    pub step: Step,
}

pub(super) enum Step {
    /// What is typed, with what it shows.
    Type { commands: Vec<Typed>, ends: Ends },
    /// What the host that runs shows next.
    Shown(Vec<String>),
    /// A file that is written.
    Write { path: String, text: String },
    /// Nothing: code for another platform, or a part of what a file has.
    Read,
}

/// How the commands of a block end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Well,
    /// With another status than 0.
    Failing,
    /// With what they have to show sooner or later: until then they are typed again.
    Soon,
}

pub(super) struct Typed {
    pub command: String,
    /// The lines that it shows, with `…` for what varies. None: whatever it shows.
    pub shows: Vec<String>,
}

impl Block {
    pub(super) fn is_for(&self, language: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == language)
    }

    /// Whether this block alone makes a walk in that language.
    pub(super) fn is_of(&self, language: &str) -> bool {
        self.only.iter().any(|only| only == language)
    }
}

/// The blocks of a page.
pub(super) fn blocks(page: &Path) -> Vec<Block> {
    let shown = page.display();
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line);
            let inside: Vec<&str> = inside.take_while(|line| *line != "```").collect();
            let block = block(at + 1, info, &inside);
            blocks.push(block.unwrap_or_else(|fault| panic!("{shown}:{}: {fault}", at + 1)));
        }
    }
    blocks
}

fn block(line: usize, info: &str, inside: &[&str]) -> Result<Block, String> {
    let mut words = info.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let (mut only, mut file) = (Vec::new(), None);
    let (mut ends, mut read) = (Ends::Well, kind == "text");
    for word in words {
        match word.split_once('=') {
            Some(("in", languages)) => only = languages.split(',').map(str::to_owned).collect(),
            Some(("file", path)) => file = Some(path.to_owned()),
            None if word == "fails" => ends = Ends::Failing,
            None if word == "soon" => ends = Ends::Soon,
            None if word == "elsewhere" => read = true,
            _ => {
                return Err(format!(
                    "'{word}' is not known; there is in=, file=, fails, soon, elsewhere"
                ));
            }
        }
    }
    let step = match (kind, file) {
        _ if read => Step::Read,
        ("console", None) if !inside.first().is_some_and(|line| line.starts_with("$ ")) => {
            Step::Shown(inside.iter().map(|line| (*line).to_owned()).collect())
        }
        ("console", None) => Step::Type {
            commands: typed(inside),
            ends,
        },
        (_, Some(path)) => {
            if only.is_empty() && LANGUAGES.contains(&kind) {
                only.push(kind.to_owned());
            }
            let text = inside.join("\n") + "\n";
            Step::Write { path, text }
        }
        _ => {
            let fault = "a block is ```console with `$ ` before commands, a file (file=src/lib.rs), \
                         ```text, or is marked `elsewhere`";
            return Err(fault.into());
        }
    };
    Ok(Block { line, only, step })
}

/// Commands, each with the lines below it. A line that ends in a backslash goes on.
fn typed(inside: &[&str]) -> Vec<Typed> {
    let mut commands: Vec<Typed> = Vec::new();
    let mut goes_on = false;
    for line in inside {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) if !goes_on => commands.push(Typed {
                command: command.to_owned(),
                shows: Vec::new(),
            }),
            (_, Some(last)) if goes_on => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (_, Some(last)) => last.shows.push((*line).to_owned()),
            (_, None) => {}
        }
        goes_on = line.ends_with('\\');
    }
    for typed in &mut commands {
        while typed.shows.last().is_some_and(String::is_empty) {
            typed.shows.pop();
        }
    }
    commands
}

#[test]
fn block_says_what_is_typed_shown_and_written() {
    let shell = ["$ curl \\", "    /a", "hello", "$ ls   # what is there", ""];
    let Step::Type { commands, ends } = block(1, "console fails", &shell).unwrap().step else {
        panic!("it is typed");
    };
    assert!(ends == Ends::Failing);
    assert_eq!(commands[0].command, "curl \\\n    /a");
    assert_eq!(commands[0].shows, ["hello"]);
    assert_eq!(commands.len(), 2);
    assert!(matches!(
        block(1, "console", &["… is live"]).unwrap().step,
        Step::Shown(_)
    ));
    let file = block(1, "rust file=src/lib.rs", &["fn a() {}"]).unwrap();
    assert!(file.is_for("rust") && !file.is_for("js"));
    assert!(block(1, "yaml file=a.yaml in=js", &[]).unwrap().is_of("js"));
    for wrong in ["rust", "sh", "console lang=rust", ""] {
        assert!(block(1, wrong, &[]).is_err(), "{wrong}");
    }
}
