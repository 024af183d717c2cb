//! What to install where the tool of a language is missing.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The status by which a shell says that it did not find a command.
pub(super) const NOT_FOUND: i32 = 127;

/// Tools of the field, and how each is installed.
const TOOLS: [(&str, &str); 19] = [
    ("cargo", "curl -sSf https://sh.rustup.rs | sh"),
    ("rustc", "curl -sSf https://sh.rustup.rs | sh"),
    ("rustup", "curl -sSf https://sh.rustup.rs | sh"),
    ("node", "sudo apt install nodejs npm"),
    ("npm", "sudo apt install nodejs npm"),
    ("npx", "sudo apt install nodejs npm"),
    ("tsc", "npm install --save-dev typescript"),
    ("esbuild", "npm install --save-dev esbuild"),
    ("jco", "npm install --save-dev @bytecodealliance/jco@1.25.2"),
    ("python3", "sudo apt install python3 python3-venv"),
    ("python", "sudo apt install python-is-python3"),
    ("pip", "sudo apt install python3-pip"),
    (
        "componentize-py",
        "python3 -m pip install componentize-py==0.25.1",
    ),
    ("zig", "python3 -m pip install ziglang==0.17.1"),
    ("wit-bindgen", "cargo install wit-bindgen-cli"),
    ("wasm-tools", "cargo install wasm-tools"),
    ("wkg", "cargo install wkg"),
    ("make", "sudo apt install make"),
    (
        "tinygo",
        "brew install tinygo, or see https://tinygo.org/getting-started/install",
    ),
];

/// Words that the shell itself knows, and those that say nothing about a tool.
const OF_SHELL: [&str; 24] = [
    ".", ":", "cd", "case", "command", "echo", "eval", "exec", "exit", "export", "false", "for",
    "if", "printf", "read", "set", "source", "test", "trap", "true", "type", "umask", "until",
    "while",
];

/// What to install where the first word of `command`, run in `dir`, is a tool that is not there.
/// None where it is there, or the command is more than a word and its arguments.
pub(in crate::cli) fn missing(command: &str, dir: &Path) -> Option<String> {
    let is_setting = |word: &&str| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    let tool = command.split_whitespace().find(|word| !is_setting(word))?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./+".contains(&b);
    if !tool.bytes().all(is_plain) || OF_SHELL.contains(&tool) || is_there(tool, dir) {
        return None;
    }
    Some(sentence(tool))
}

/// The same for a tool that the shell says it did not find, by the end of its output.
pub(super) fn missing_in(said: &str) -> Option<String> {
    // `sh: 1: jco: not found`, `bash: line 1: jco: command not found`.
    let tool = |line: &str| -> Option<String> {
        let line = line.strip_suffix("not found")?.trim_end();
        let line = line.strip_suffix("command").unwrap_or(line).trim_end();
        let tool = line.strip_suffix(':')?.rsplit(": ").next()?.trim();
        let is_word = !tool.is_empty() && !tool.contains(char::is_whitespace);
        is_word.then(|| tool.to_owned())
    };
    let tool = said.lines().rev().find_map(|line| tool(line.trim()))?;
    Some(sentence(&tool))
}

/// That `tool` is missing, and how it is installed.
fn sentence(tool: &str) -> String {
    let known = TOOLS.iter().find(|(name, _)| *name == tool);
    match known {
        Some((_, install)) => format!("{tool} was not found: install it with `{install}`"),
        None => format!("{tool} was not found: install it, or add its folder to PATH"),
    }
}

fn is_there(tool: &str, dir: &Path) -> bool {
    if tool.contains('/') {
        return is_executable(&dir.join(tool));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_executable(&dir.join(folder).join(tool)))
}

fn is_executable(path: &PathBuf) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tool_is_told_with_the_command_that_installs_it() {
        let dir = Path::new("/");
        let said = missing("componentize-py-2 -w x", dir).unwrap();
        assert_eq!(
            said,
            "componentize-py-2 was not found: install it, or add its folder to PATH"
        );
        assert!(sentence("zig").contains("`python3 -m pip install ziglang=="));
        for there in [
            "sh -c x",
            "A=1 sh",
            "cd x && y",
            "/bin/sh",
            "\"a b\" c",
            "$TOOL x",
            "",
        ] {
            assert_eq!(missing(there, dir), None, "{there}");
        }
        assert!(missing("A=1 ./no-such-script", dir).is_some());
        for said in [
            "x\nsh: 1: jco: not found\n",
            "/bin/sh: line 2: jco: command not found\n",
        ] {
            let said = missing_in(said).unwrap();
            assert!(
                said.starts_with("jco was not found: install it with `npm"),
                "{said}"
            );
        }
        assert_eq!(missing_in("page not found\n"), None);
    }
}
