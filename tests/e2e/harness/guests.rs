//! The components that the tests deploy, built once for each run of the tests.

use hms_svc::cli::build::{build, ensure_target};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;

static BUILT: OnceCell<HashMap<String, PathBuf>> = OnceCell::const_new();

async fn built() -> &'static HashMap<String, PathBuf> {
    BUILT
        .get_or_init(|| async {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            ensure_target(&|what| eprintln!("{what}")).await.unwrap();
            let manifest = root.join("components/Cargo.toml");
            let mut all = HashMap::new();
            for folder in ["components", "tests/guests"] {
                for built in build(&manifest, &root.join(folder)).await.unwrap() {
                    all.insert(built.window.to_string(), built.wasm);
                }
            }
            all
        })
        .await
}

/// The folder that cargo builds guests in.
pub fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("components/target"),
    }
}

/// The file of one of our windows, or of a test guest.
pub async fn path(name: &str) -> PathBuf {
    built()
        .await
        .get(name)
        .unwrap_or_else(|| panic!("no guest named {name}"))
        .clone()
}

/// The bytes of one of our windows.
pub async fn window(name: &str) -> Vec<u8> {
    std::fs::read(path(name).await).unwrap()
}

/// The bytes of a test guest.
pub async fn guest(name: &str) -> Vec<u8> {
    window(name).await
}

/// The same component with other bytes: a custom section more, which changes its digest and nothing else.
pub fn variant(component: &[u8], mark: &str) -> Vec<u8> {
    let name = b"variant";
    let mut section = vec![name.len() as u8];
    section.extend(name);
    section.extend(mark.as_bytes());
    assert!(
        section.len() < 128,
        "the section's length must fit in one byte"
    );
    let mut bytes = component.to_vec();
    bytes.push(0);
    bytes.push(section.len() as u8);
    bytes.extend(section);
    bytes
}
