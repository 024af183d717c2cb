//! An instance that starts and is let go.

use arc_swap::ArcSwap;
use divan::Bencher;
use hms_grants::LiveGrants;
use hms_harness::guests;
use hms_runtime::engine::precompile;
use hms_runtime::native;
use hms_runtime::{
    CpuShares, EngineConfig, Failures, InstanceAtWork, InstanceContext, Instances, Runtime,
    WindowLimits,
};
use hms_store::{StoreLimits, Stores};
use hms_windows::Registry;
use std::sync::{Arc, Weak};

#[divan::bench(args = ["hello-wstd", "hello-wasip3", "payments"])]
fn fresh(bencher: Bencher, guest: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let wasm = std::fs::read(runtime.block_on(guests::path(guest))).expect("a component");
    let folder = tempfile::tempdir().expect("a folder");
    let native = folder.path().join("native");
    let compiled = precompile(&wasm, false).expect("it compiles");
    native::write(&native, guest, &compiled).expect("a file");
    let engine = Runtime::new(&EngineConfig::default()).expect("an engine");
    let limits = Arc::new(ArcSwap::from_pointee(WindowLimits::default()));
    let grants = LiveGrants::default();
    let log = Runtime::window_log("bench", &limits, &grants);
    let context = InstanceContext {
        window: "bench".into(),
        release: 1,
        stores: Arc::new(Stores::new(
            folder.path().join("stores"),
            StoreLimits::default(),
        )),
        failures: Arc::new(Failures::new(log.clone())),
        log,
        limits,
        grants,
        windows: Weak::<Registry>::new(),
        outgoing: None,
        emit_guard: None,
        cpu_shares: CpuShares::default(),
        short: Arc::default(),
        usage: Arc::default(),
        at_work: InstanceAtWork::default(),
    };
    let code = engine.load(&native, guest, false).expect("native code");
    let instances = Instances::new(code, context).expect("a window");
    bencher.bench_local(|| runtime.block_on(instances.try_start()).is_ok());
}
