//! No text that was not signed with the key is a token, and none makes the verifier panic.
#![no_main]

use hms_gateway::plugins::auth::{AuthConfig, DevSecret, KeySource, Rule, Verifier, dev_secret};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static VERIFIER: LazyLock<(Verifier, tokio::runtime::Runtime)> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("hms-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let secret: DevSecret = dev_secret::load_or_create(&folder).expect("a secret");
    let _ = std::fs::remove_dir_all(&folder);
    let verifier = Verifier::new(AuthConfig::new(KeySource::DevSecret(secret)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    (verifier, runtime)
});

fuzz_target!(|text: &str| {
    let (verifier, runtime) = &*VERIFIER;
    let mut headers = http::HeaderMap::new();
    let Ok(value) = http::HeaderValue::from_str(text) else {
        return;
    };
    headers.insert(http::header::AUTHORIZATION, value);
    assert!(runtime.block_on(verifier.caller(&headers, &Rule::default())).is_err());
    assert!(runtime.block_on(verifier.verify(text, &[])).is_err());
});
