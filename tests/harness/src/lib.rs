//! Real hosts, components and HTTP, for the end-to-end tests, the measured tests and the benches.

#![allow(rustdoc::private_intra_doc_links)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails a test or ends a bench, with the place of the fault"
)]
#![expect(
    missing_docs,
    reason = "it is read by those who write tests, beside the tests"
)]

pub mod backup;
pub mod dice;
pub mod grants;
pub mod guests;
pub mod host;
pub mod hostile;
pub mod http;
pub mod ledger;
pub mod load;
pub mod marked;
pub mod pairs;
pub mod process;
pub mod rest;
pub mod services;
pub mod surgery;
pub mod wrk;

pub use guests::{guest, window};
pub use host::{Host, Options};
pub use http::Answer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The repository's own folder.
pub fn root() -> &'static Path {
    const HERE: &str = env!("CARGO_MANIFEST_DIR");
    Path::new(HERE)
        .ancestors()
        .nth(2)
        .expect("tests/harness lies in it")
}

/// The host's binary: the one that cargo built for this test or bench, or `HMS`, for figures of
/// another.
///
/// # Panics
/// Where there is neither, as when a test is not run by cargo.
pub fn hms() -> PathBuf {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    named("HMS")
        .or_else(|| named("CARGO_BIN_EXE_hms"))
        .expect("run by cargo, or with HMS=path/to/hms")
}

/// Makes `path` a file of that `text`, at once: a host that follows its folder reads the text
/// before or this one, and not a part, which would be another manifest or none.
pub fn replace_file(path: &Path, text: &str) {
    let being_written = path.with_extension("new");
    std::fs::write(&being_written, text).unwrap();
    std::fs::rename(being_written, path).unwrap();
}

/// The longest that any single expected thing may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    condition: impl Fn() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn benches_measure_the_production_build() {
    use std::collections::BTreeSet;

    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let settings = |table: &str| -> BTreeSet<&str> {
        let lines = (manifest.lines()).skip_while(|line| *line != format!("[profile.{table}]"));
        let lines = lines.skip(1).take_while(|line| !line.starts_with('['));
        let setting = |line: &&str| line.contains(" = ") && !line.starts_with("inherits");
        lines.filter(setting).collect()
    };
    assert!(settings("dist").contains("lto = \"fat\""));
    assert_eq!(settings("dist"), settings("bench"));
    // What `release` does not optimise of the host, both would inherit.
    let back: BTreeSet<String> = (settings("release.package").into_iter())
        .filter(|line| line.starts_with("hms-") && !line.ends_with("= 3"))
        .filter_map(|line| Some(format!("{} = 3", line.split_once(" = ")?.0)))
        .collect();
    assert!(back.contains("hms-svc.opt-level = 3"), "{back:?}");
    for inheriting in ["dist.package", "bench.package"] {
        assert!(back.iter().map(String::as_str).eq(settings(inheriting)));
    }
}
