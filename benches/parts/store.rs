//! A window's store: reads, and commits that are on disk.

use divan::Bencher;
use futures_util::future::join_all;
use hms_store::{NewEvent, Op, Store, StoreLimits, Transaction, open_file};
use std::sync::Arc;
use tempfile::TempDir;

/// On the disk that the build is on: a folder for temporary files may be in memory.
fn store() -> (TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store = open_file(
        folder.path().join("store.redb"),
        "bench",
        StoreLimits::default(),
    );
    (folder, store.expect("a store"))
}

fn set(n: u64) -> Vec<Op> {
    vec![Op::Set {
        bucket: "payments".into(),
        key: format!("key-{n:012}"),
        value: vec![b'x'; 128],
    }]
}

/// As many writes at once, each acknowledged when it is on disk.
#[divan::bench(args = [1, 8, 64])]
fn durable_writes_at_once(bencher: Bencher, writes: u64) {
    let ((_folder, store), runtime) = (store(), tokio::runtime::Runtime::new().expect("a runtime"));
    let mut n = 0;
    bencher.counter(writes).bench_local(|| {
        let first = n;
        n += writes;
        let writing = (first..n).map(|key| store.write(set(key)));
        let done = runtime.block_on(join_all(writing));
        assert!(done.iter().all(Result::is_ok));
    });
}

/// The same as transactions, each with an event of 200 bytes.
#[divan::bench(args = [1, 8, 64])]
fn durable_transactions_with_an_event_at_once(bencher: Bencher, transactions: u64) {
    let ((_folder, store), runtime) = (store(), tokio::runtime::Runtime::new().expect("a runtime"));
    let mut n = 0;
    bencher.counter(transactions).bench_local(|| {
        let first = n;
        n += transactions;
        let committing = (first..n).map(|key| {
            store.transact(Transaction {
                changes: set(key),
                events: vec![NewEvent {
                    kind: "gov.payment.paid.v1".into(),
                    subject: Some(key.to_string()),
                    content_type: "application/json".into(),
                    data: vec![b'x'; 200],
                    ..NewEvent::default()
                }],
                now_ms: key,
                ..Transaction::default()
            })
        });
        let done = runtime.block_on(join_all(committing));
        assert!(done.iter().all(Result::is_ok));
    });
}

#[divan::bench(args = [1_000, 100_000])]
fn a_read_among(bencher: Bencher, keys: u64) {
    let ((_folder, store), runtime) = (store(), tokio::runtime::Runtime::new().expect("a runtime"));
    for start in (0..keys).step_by(500) {
        let writing = (start..start + 500).map(|n| store.write(set(n)));
        runtime.block_on(join_all(writing));
    }
    let mut n = 0;
    bencher.bench_local(|| {
        n = (n + 7919) % keys;
        store.get("payments", &format!("key-{n:012}")).wait()
    });
}
