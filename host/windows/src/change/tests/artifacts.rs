//! Which artifacts are kept while a deploy or a backup relies on them.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_a_deploy_relies_on_are_kept_until_recorded() {
    let fixture = Fixture::new(false).await;
    let artifacts = fixture.registry.artifacts();
    let [digest, later] = ["d", "e"].map(|letter| letter.repeat(64));
    let files = [&digest, &later].map(|digest| artifacts.wasm_path(digest));
    for file in &files {
        std::fs::write(file, "a component").unwrap();
    }
    let pin = artifacts.pin(&digest);
    artifacts.clear_unused(|| {
        // The records are read by now, and have neither; then the deploy of the one ends, and
        // another begins and ends. None of that waits for the clearing.
        drop(pin);
        drop(artifacts.pin(&later));
        Some(Default::default())
    });
    assert!(files.iter().all(|file| file.exists()));
    artifacts.clear_unused(|| None);
    assert!(files.iter().all(|file| file.exists()));
    artifacts.clear_unused(|| Some(Default::default()));
    assert!(files.iter().all(|file| !file.exists()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_held_for_a_backup_are_kept_from_before_the_records_are_copied() {
    let fixture = Fixture::new(false).await;
    let artifacts = fixture.registry.artifacts();
    let digest = "d".repeat(64);
    let file = artifacts.wasm_path(&digest);
    std::fs::write(&file, "a component").unwrap();
    let clearing = artifacts.clone();
    let (copied, held) = artifacts
        .hold_all(|| {
            // It waits until what there is is held.
            let clear = move || clearing.clear_unused(|| Some(Default::default()));
            Ok(std::thread::spawn(clear))
        })
        .unwrap();
    copied.join().unwrap();
    assert!(file.exists() && held.len() == 1);
    drop(held);
    artifacts.clear_unused(|| Some(Default::default()));
    assert!(!file.exists());
}
