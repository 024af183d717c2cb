//! How often a request through the whole gateway allocates: a figure that does not depend on the
//! machine's speed, so that a change which makes the hot path dearer is seen in a review and not in
//! a bench months later.
//!
//! The host runs in this process, over real sockets; the client allocates nothing. Not in the
//! end-to-end binary, because an allocator that counts belongs to a whole process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test, which fails by a panic"
)]

use hms_gateway::plugins::auth::{AuthConfig, KeySource, dev_secret, issue_token};
use hms_gateway::{Gateway, GatewayConfig};
use hms_harness::guests;
use hms_net::listen::bind;
use hms_runtime::{Compiler, compile};
use hms_store::{Op, StoreLimits, open_file};
use hms_windows::{DeployOptions, Registry, WindowName, WindowsConfig};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a request allocates at most, through token, limit and route to a fresh instance and back. A
/// tenth above what was measured.
const MOST: f64 = 228.0;

/// Requests before the first count, for what is made once, and counted ones.
const WARM: usize = 500;
const COUNTED: usize = 2000;

/// What a read of a small value from an open store allocates at most: its key as the file has it,
/// and the value. The future that it comes in allocates nothing.
const MOST_OF_A_READ: f64 = 2.2;

const ROUTE: &str = "uri: /hello\nupstream: http://hms-svc-hello\nplugins:\n  - auth\n  - rate-limit: {limit: 1000000}\n";

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(compile::VERB) {
        return compile_child(&args.collect::<Vec<_>>());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (addr, bearer) = runtime.block_on(start(folder.path()));
    let request =
        format!("GET /hello HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bearer}\r\n\r\n");
    let mut stream = TcpStream::connect(addr).expect("a connection");
    ask(&mut stream, &request, WARM);
    let before = count();
    ask(&mut stream, &request, COUNTED);
    let each = (count() - before) as f64 / COUNTED as f64;
    println!("{each:.1} allocations a request, at most {MOST}");
    assert!(
        each <= MOST,
        "more allocations a request than before: see tests/allocations"
    );
    assert!(
        each > MOST * 0.7,
        "fewer allocations than before, which is good: set MOST to {:.0}",
        each * 1.1
    );
    let each = runtime.block_on(read(folder.path()));
    println!("{each:.1} allocations a read of the store, at most {MOST_OF_A_READ}");
    assert!(
        each <= MOST_OF_A_READ,
        "reading allocates more than it did: find what, or raise MOST_OF_A_READ with the reason"
    );
}

/// Allocations of a read that memory can answer.
async fn read(folder: &Path) -> f64 {
    let path = folder.join("reads.redb");
    let store = open_file(path, "reads", StoreLimits::default()).expect("a store");
    let set = Op::Set {
        bucket: "b".into(),
        key: "k".into(),
        value: vec![b'x'; 128],
    };
    store.write(vec![set]).await.expect("a write");
    let mut before = 0;
    for n in 0..WARM + COUNTED {
        if n == WARM {
            before = count();
        }
        let found = store.get("b", "k").await.expect("a read");
        assert!(found.is_some());
    }
    (count() - before) as f64 / COUNTED as f64
}

/// Allocations so far, of all threads.
fn count() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// A host with one window behind a guarded route, and a token.
async fn start(folder: &Path) -> (SocketAddr, String) {
    let (data, routes) = (folder.join("data"), folder.join("routes"));
    std::fs::create_dir_all(&data).expect("a folder");
    std::fs::create_dir_all(&routes).expect("a folder");
    std::fs::write(routes.join("hello.yaml"), ROUTE).expect("a route");
    let secret = dev_secret::load_or_create(&data).expect("a secret");
    let bearer = issue_token(&secret, "alice", &[], Duration::from_secs(3600)).expect("a token");

    let config = WindowsConfig::new(data);
    let compiler = Compiler::this_program(config.compile).expect("a compiler");
    let windows = Registry::open(config, compiler).expect("windows");
    let component = guests::path("hello-wasip3").await;
    let name = "hello".parse::<WindowName>().expect("a name");
    let deployed = windows
        .deploy_file(&name, &component, DeployOptions::default())
        .await;
    assert!(deployed.is_ok(), "the window is not deployed");

    let auth = AuthConfig::new(KeySource::DevSecret(secret));
    let gateway = Gateway::new(GatewayConfig::new(routes, auth), windows);
    let listeners = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--gateway")
        .await
        .expect("a listener");
    let addr = listeners[0].local_addr().expect("an address");
    tokio::spawn(gateway.serve(listeners, CancellationToken::new()));
    (addr, bearer)
}

/// One request after the other, each answered with 200. Allocates nothing.
fn ask(stream: &mut TcpStream, request: &str, times: usize) {
    let mut answer = [0; 4096];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut read = 0;
        while !answer[..read].ends_with(b"0\r\n\r\n") && !is_whole(&answer[..read]) {
            let bytes = stream.read(&mut answer[read..]).expect("an answer");
            assert!(bytes > 0, "closed");
            read += bytes;
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..read])
        );
    }
}

/// Whether an answer with a length has all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let find = |what: &[u8]| answer.windows(what.len()).position(|part| part == what);
    let (Some(end), Some(at)) = (find(b"\r\n\r\n"), find(b"content-length: ")) else {
        return false;
    };
    let digits = answer[at + 16..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    answer.len() >= end + 4 + length
}

fn compile_child(args: &[String]) {
    let [wasm, digest, compiled, memory] = args else {
        panic!("four arguments: {args:?}");
    };
    let memory = memory.parse().expect("bytes");
    compile::child(Path::new(wasm), digest, Path::new(compiled), memory, false)
        .expect("it compiles");
}
