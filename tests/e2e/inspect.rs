//! `hms inspect`: what authors learn of a component before anybody deploys it.

use hms_harness::{guest, guests, window};
use serde_json::Value;
use std::fs;
use std::process::{Command, Output};

async fn inspect(wasm: &[u8], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.wasm");
    fs::write(&file, wasm).unwrap();
    let mut command = Command::new(hms_harness::hms());
    command.arg("inspect").arg(&file).args(args);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn json(wasm: &[u8]) -> Value {
    let output = inspect(wasm, &["--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn window_is_described_by_what_it_can_do_what_it_weighs_and_what_made_it() {
    let wasm = window("payments").await;
    let output = inspect(&wasm, &[]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for part in [
        "deploy    would be accepted",
        "answer HTTP requests (WASI 0.3)",
        "keep data in its store",
        "change several keys at once",
        "core module",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let said = json(&wasm).await;
    let sdk = said["sdk"].as_str().unwrap();
    assert!(sdk.starts_with("hms-window 0."), "{sdk}");
    assert_eq!(said["bytes"], wasm.len());
    assert_eq!(
        said["imports"].as_array().unwrap().len(),
        guests::imports(&wasm).len()
    );
    let modules = said["modules"].as_array().unwrap();
    let code: u64 = modules
        .iter()
        .map(|module| module["code"].as_u64().unwrap())
        .sum();
    assert!(code > 10_000 && code < wasm.len() as u64, "{said}");
    assert!(
        said["producers"]["processed-by"]
            .get("wit-component")
            .is_some(),
        "{said}"
    );
}

#[tokio::test]
async fn refusal_by_a_host_is_reported_with_code_and_remedy() {
    let unknown = guest("unknown-import").await;
    let output = inspect(&unknown, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = json(&unknown).await;
    assert_eq!(said["deploy"]["code"], "unknown-import");
    let advice = said["missing"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("--trap-unknown"), "{advice}");

    let said = json(&guest("no-handler").await).await;
    assert_eq!(said["deploy"]["code"], "missing-export");
    let said = json(b"\0asm\x01\0\0\0").await;
    assert_eq!(said["deploy"]["code"], "core-module");
    assert!(
        said["deploy"]["message"]
            .as_str()
            .unwrap()
            .contains("wasm-tools component new")
    );
    let said = json(&guest("spin-v2").await).await;
    assert_eq!(said["deploy"]["accepted"], true);
}
