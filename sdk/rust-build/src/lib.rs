//! Embeds a static site in a service window: for the `build.rs` of a window that is written with
//! the crate `hms-window`, whose `site!` answers with it.
//!
//! ```no_run
//! // In `main` of build.rs:
//! hms_window_build::site("dist");
//! ```

#![deny(missing_docs)]

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod compress;
mod media;
mod names;

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Bytes of all files of a site. 32 MiB: they are in the memory of each instance, which has 128 MiB
/// unless the operator says otherwise.
const MAX_BYTES: u64 = 32 << 20;

/// Embeds the files below `folder`, a path relative to the package. Hidden files, whose names begin
/// with a dot, are left out, except below `.well-known`.
///
/// What is wrong is an error of the build: a folder that is not there, or has more than 32 MiB.
pub fn site(folder: &str) {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed={folder}");
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(error) = embed(&Path::new(&package).join(folder), folder, Path::new(&out)) {
        // The only way to fail without a panic's noise.
        println!("cargo::error={folder}: {error}");
    }
}

/// One file of the site.
struct File {
    /// Relative to the folder, with `/`.
    name: String,
    path: PathBuf,
}

/// Writes the compressed files, and the table that `site!` includes: `OUT/hms-site/FOLDER.rs`.
fn embed(from: &Path, folder: &str, out: &Path) -> io::Result<()> {
    let files = files(from)?;
    let out = out.join("hms-site");
    let packed = out.join("packed");
    fs::create_dir_all(&packed)?;
    let mut total = 0;
    let mut table = String::from("&[\n");
    for file in &files {
        let bytes = fs::read(&file.path)?;
        total += bytes.len() as u64;
        if total > MAX_BYTES {
            let most = MAX_BYTES >> 20;
            let text = format!("more than {most} MiB, which each instance has in its memory");
            return Err(io::Error::other(text));
        }
        let tag = tag(&bytes);
        let media = media::of(&file.name);
        let (brotli, gzip) = match media.compressible {
            true => (
                compress::kept(&packed, &tag, "br", &bytes, compress::brotli)?,
                compress::kept(&packed, &tag, "gz", &bytes, compress::gzip)?,
            ),
            false => (None, None),
        };
        let include = |path: &Path| format!("include_bytes!({:?})", path.display().to_string());
        let option = |path: &Option<PathBuf>| match path {
            Some(path) => format!("Some({})", include(path)),
            None => "None".to_owned(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(
            table,
            "    ::hms_window::site::File::new({:?}, {:?}, {tag:?}, {}, {}, {}, {}),",
            file.name,
            media.name,
            names::is_hashed(&file.name),
            include(&file.path),
            option(&brotli),
            option(&gzip),
        );
    }
    table.push_str("]\n");
    let target = out.join(format!("{folder}.rs"));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(target, table)
}

/// All files below a folder, by the bytes of their names.
fn files(from: &Path) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    let mut folders = vec![(from.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other("it does not exist: build the site first, into this folder")
            }
            _ => error,
        })?;
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                let text = format!("the name {:?} is not UTF-8: rename it", entry.file_name());
                return Err(io::Error::other(text));
            };
            if name.starts_with('.') && name != ".well-known" {
                continue;
            }
            let path = entry.path();
            // Follows links.
            match fs::metadata(&path)?.is_dir() {
                true => folders.push((path, format!("{prefix}{name}/"))),
                false => found.push(File {
                    name: format!("{prefix}{name}"),
                    path: path.canonicalize()?,
                }),
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// 16 hexadecimal digits of the SHA-256.
fn tag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_every_file_in_order_and_compressed_where_that_helps() {
        let place = tempfile::tempdir().unwrap();
        let (from, out) = (place.path().join("dist"), place.path().join("out"));
        for (name, text) in [
            ("index.html", "<p>hello</p>".repeat(100)),
            ("assets/app-BfD3kz9x.js", "let a = 1;".repeat(100)),
            ("a.png", "not really".repeat(100)),
            ("tiny.txt", "x".into()),
            (".DS_Store", "rubbish".into()),
            (
                ".well-known/security.txt",
                "Contact: mailto:a@b.example".into(),
            ),
        ] {
            let path = from.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        embed(&from, "web/dist", &out).unwrap();
        let table = fs::read_to_string(out.join("hms-site/web/dist.rs")).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        let lines = &lines[1..lines.len() - 1];
        let names: Vec<&str> = lines
            .iter()
            .map(|line| line.split('"').nth(1).unwrap())
            .collect();
        assert_eq!(
            names,
            [
                ".well-known/security.txt",
                "a.png",
                "assets/app-BfD3kz9x.js",
                "index.html",
                "tiny.txt"
            ]
        );
        assert!(
            lines[3].contains(".br\")") && lines[3].contains(".gz\")"),
            "{}",
            lines[3]
        );
        assert!(lines[1].ends_with("None, None),") && lines[4].ends_with("None, None),"));
        assert!(lines[2].contains("\", true, ") && lines[3].contains("\", false, "));
    }

    #[test]
    fn missing_folder_is_said_with_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let error = embed(&place.path().join("dist"), "dist", place.path()).unwrap_err();
        assert!(
            error.to_string().contains("build the site first"),
            "{error}"
        );
    }
}
