//! `window.toml`: how one window is built, beside its sources.

use hms_disk::files::{read_at_most, utf8};
use hms_manifest::unknown;
use hms_windows::WindowName;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// The name of the file.
pub(in crate::cli) const WINDOW_TOML: &str = "window.toml";

/// Bytes of the file. 64 KiB, as for a manifest: a real one has some hundred.
const MAX_BYTES: u64 = 64 << 10;

const FIELDS: [&str; 6] = ["name", "lang", "build", "wasm", "watch", "test"];

/// The language that is built without a command.
const RUST: &str = "rust";

/// A window, as its folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct WindowFile {
    /// The folder, as it was found.
    pub dir: PathBuf,
    /// What it is called; in Rust the package says so if the file does not.
    pub name: Option<WindowName>,
    /// The language, if it says one.
    pub lang: Option<String>,
    pub how: How,
    /// What a change of is a new build; all in the folder where it says nothing.
    pub watch: Option<Vec<PathBuf>>,
    /// The command that tests it.
    pub test: Option<String>,
}

/// How it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum How {
    /// As a cargo package.
    Cargo,
    /// By a command, run by `sh` in the folder, which makes a file.
    Command { build: String, wasm: PathBuf },
}

impl WindowFile {
    /// Reads the file in `dir`.
    ///
    /// # Errors
    /// Every fault as a sentence, with file and line.
    pub(in crate::cli) fn read(dir: &Path) -> Result<Self, Vec<String>> {
        let path = dir.join(WINDOW_TOML);
        let text = read_at_most(&path, MAX_BYTES)
            .map_err(|error| error.to_string())
            .and_then(|bytes| utf8(bytes).map_err(str::to_owned));
        let text =
            text.map_err(|why| vec![format!("{}: cannot be read: {why}", path.display())])?;
        Self::parse(dir, &text)
    }

    fn parse(dir: &Path, text: &str) -> Result<Self, Vec<String>> {
        let path = dir.join(WINDOW_TOML);
        let fields = toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(text);
        let mut faults = Faults {
            path: &path,
            text,
            found: Vec::new(),
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(error) => {
                faults.add(error.span().unwrap_or_default(), error.message());
                return Err(faults.found);
            }
        };
        let (mut texts, mut watch) = (BTreeMap::new(), None);
        for (key, value) in fields {
            let place = key.span();
            let key = key.into_inner();
            match (
                FIELDS.iter().find(|field| **field == key),
                value.into_inner(),
            ) {
                (None, _) => faults.add(place, &unknown("field", &key, &FIELDS)),
                (Some(&"watch"), value) => match list(value) {
                    Some(list) => watch = Some(list),
                    None => faults.add(
                        place,
                        "'watch' is a list of files and folders, as in watch = [\"src\"]",
                    ),
                },
                (Some(field), Value::String(text)) if !text.trim().is_empty() => {
                    texts.insert(*field, (place, text));
                }
                (Some(field), _) => {
                    let wrong = format!("'{field}' is a text in quotes, as in {field} = \"…\"");
                    faults.add(place, &wrong);
                }
            }
        }
        let mut text_of = |field: &str| texts.remove(field);
        let name = text_of("name").and_then(|(place, name)| {
            let name = name.parse::<WindowName>();
            name.map_err(|why| faults.add(place, &why)).ok()
        });
        let lang = text_of("lang").map(|(_, lang)| lang);
        let how = match (text_of("build"), text_of("wasm")) {
            (Some((_, build)), Some((_, wasm))) => Some(How::Command {
                build,
                wasm: wasm.into(),
            }),
            (Some((place, _)), None) => {
                let missing = "'build' needs 'wasm': name the file that the command makes, as in wasm = \"dist/NAME.wasm\"";
                faults.add(place, missing);
                None
            }
            (None, Some((place, _))) => {
                let missing = "'wasm' needs 'build': say by which command the file is made, as in build = \"make\"";
                faults.add(place, missing);
                None
            }
            (None, None) if lang.as_deref().is_none_or(|lang| lang == RUST) => Some(How::Cargo),
            (None, None) => {
                let lang = lang.as_deref().unwrap_or_default();
                let missing = format!(
                    "only Rust is built without a command, and 'lang' is '{lang}': add build = \"…\" and wasm = \"…\""
                );
                faults.add(0..0, &missing);
                None
            }
        };
        if how == Some(How::Cargo) && !dir.join("Cargo.toml").is_file() {
            let missing = "there is no Cargo.toml beside it: write one, or say how the window is built by build = \"…\" and wasm = \"…\"";
            faults.add(0..0, missing);
        }
        let test = text_of("test").map(|(_, test)| test);
        let Some(how) = how.filter(|_| faults.found.is_empty()) else {
            return Err(faults.found);
        };
        Ok(WindowFile {
            dir: dir.to_owned(),
            name,
            lang,
            how,
            watch,
            test,
        })
    }

    /// What it is called if nothing else says so: as its folder.
    ///
    /// # Errors
    /// What to do if the folder's name is none for a window.
    pub(in crate::cli) fn name_or_folder(&self) -> Result<WindowName, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let folder = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace('_', "-");
        name.parse().map_err(|_| {
            format!(
                "{}: the folder's name, '{}', cannot be a window's name: add name = \"…\"",
                self.dir.join(WINDOW_TOML).display(),
                name.escape_debug()
            )
        })
    }

    /// The command that tests it, of the file or of its language. None where neither has one.
    pub(in crate::cli) fn test_command(&self) -> Option<&str> {
        let of_language = match self.lang.as_deref() {
            Some("js" | "ts") => Some("npm test"),
            Some("python") => Some("python3 -m unittest"),
            Some("c") => Some("make test"),
            None | Some(RUST) if self.how == How::Cargo => Some("cargo test"),
            _ => None,
        };
        self.test.as_deref().or(of_language)
    }
}

struct Faults<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<String>,
}

impl Faults<'_> {
    fn add(&mut self, place: Range<usize>, what: &str) {
        let before = self.text.get(..place.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let what = what.trim().replace('\n', "; ");
        self.found
            .push(format!("{}:{line}: {what}", self.path.display()));
    }
}

fn list(value: Value) -> Option<Vec<PathBuf>> {
    let Value::Array(entries) = value else {
        return None;
    };
    let path = |entry: Value| entry.as_str().map(PathBuf::from);
    entries.into_iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        WindowFile::parse(Path::new("/fees"), text).unwrap_err()
    }

    #[test]
    fn whole_file_is_read_and_the_folder_names_the_window_where_it_does_not() {
        let text = "name = \"fees\"\nlang = \"js\"\nbuild = \"npm run build\"\nwasm = \"dist/f.wasm\"\n\
                    watch = [\"src\", \"package.json\"]\ntest = \"npm run check\"\n";
        let file = WindowFile::parse(Path::new("/w"), text).unwrap();
        assert_eq!(file.name_or_folder().unwrap().as_str(), "fees");
        assert_eq!(file.watch, Some(vec!["src".into(), "package.json".into()]));
        assert_eq!(file.test_command(), Some("npm run check"));
        let short = "lang = \"js\"\nbuild = \"make\"\nwasm = \"f.wasm\"\n";
        let file = WindowFile::parse(Path::new("/my_fees"), short).unwrap();
        assert_eq!(file.name_or_folder().unwrap().as_str(), "my-fees");
        assert_eq!(file.test_command(), Some("npm test"));
    }

    #[test]
    fn every_fault_is_a_sentence_with_file_and_line() {
        let found = faults(
            "nmae = \"fees\"\nwatch = \"src\"\nbuild = 3\n\nname = \"Fees!\"\nwasm = \"f.wasm\"\n",
        );
        let begins = |line: usize| format!("/fees/window.toml:{line}: ");
        for (line, part) in [
            (1, "unknown field 'nmae', did you mean 'name'?"),
            (2, "'watch' is a list"),
            (3, "'build' is a text in quotes"),
            (5, "'Fees!' is not a window's name"),
            (6, "'wasm' needs 'build'"),
        ] {
            let is_it = |said: &&String| said.starts_with(&begins(line)) && said.contains(part);
            assert!(found.iter().any(|said| is_it(&said)), "{line}: {found:?}");
        }
        assert!(faults("a = 1\nname = fees\n")[0].starts_with(&begins(2)));
        assert!(faults("lang = \"rsut\"\n")[0].contains("only Rust is built without a command"));
        assert!(faults("lang = \"rust\"\n")[0].contains("no Cargo.toml beside it"));
    }
}
