//! Puts what `hms new` writes into the program: the templates of sdk/templates and the parts of the
//! kits that go into a project.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What a build or an editor leaves beside sources.
const LEFT_BEHIND: [&str; 4] = ["__pycache__", "build", "node_modules", "target"];

fn main() -> Result<(), Box<dyn Error>> {
    let sdk = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../sdk");
    let sdk = sdk.canonicalize()?;
    let templates = sdk.join("templates");
    let mut files = Vec::new();
    add(&templates, "templates", &mut files)?;
    // What all templates of a language get, and what one of them gets more.
    for language in folders(&templates)? {
        let lists = [(String::from("_common"), language.clone())];
        let templates = folders(&language)?.into_iter();
        let of = |folder: PathBuf| (name(&folder), folder);
        for (template, folder) in lists.into_iter().chain(templates.map(of)) {
            let to = format!("vendor/{}/{template}", name(&language));
            vendor(&folder.join("_vendor.txt"), &sdk, &to, &mut files)?;
        }
    }
    files.sort();
    let mut code = String::from("&[\n");
    for (name, path) in &files {
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("author_files.rs"), code)?;
    Ok(())
}

/// The folders in a folder.
fn folders(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Adds what a list names, if there is one: lines of `FROM TO`, where FROM is a file or folder of
/// the kits, and TO is where it goes in a project's `vendor`.
fn vendor(
    list: &Path,
    sdk: &Path,
    into: &str,
    files: &mut Vec<(String, String)>,
) -> Result<(), Box<dyn Error>> {
    let Ok(list) = fs::read_to_string(list) else {
        return Ok(());
    };
    for line in list.lines() {
        let mut words = line.split_whitespace();
        if let (Some(from), Some(to)) = (words.next(), words.next()) {
            add(&sdk.join(from), &format!("{into}/{to}"), files)?;
        }
    }
    Ok(())
}

/// Adds a file, or all files of a folder, under the name `name`. Links are followed.
fn add(path: &Path, name: &str, files: &mut Vec<(String, String)>) -> Result<(), Box<dyn Error>> {
    if !path.is_dir() {
        println!("cargo:rerun-if-changed={}", path.display());
        files.push((name.to_owned(), path.display().to_string()));
        return Ok(());
    }
    // Of a folder cargo looks at everything below.
    println!("cargo:rerun-if-changed={}", path.display());
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if file.starts_with('.') || LEFT_BEHIND.contains(&&*file) {
            continue;
        }
        add(&entry.path(), &format!("{name}/{file}"), files)?;
    }
    Ok(())
}
