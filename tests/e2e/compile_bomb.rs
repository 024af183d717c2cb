//! A component that is too much for the compiler costs its own deploy and nothing else.

use super::harness::surgery::with_compile_bomb;
use super::harness::{Answer, Host, eventually, guest};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Deploys to window `w`, and holds that window `victim` answers every request meanwhile, and that the compiler is gone
/// afterwards and the old release serves.
async fn refused(host: &Host, component: &[u8], sentence: &str) {
    let pid = host.pid();
    let done = Arc::new(AtomicBool::new(false));
    let victim = async {
        let mut served = 0;
        while !done.load(SeqCst) {
            let answer = host.get("/victim").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            served += 1;
        }
        served
    };
    let deploy = async {
        let answer: Answer = host
            .admin(Method::PUT, "/windows/w?yes=true", component)
            .await;
        done.store(true, SeqCst);
        answer
    };
    let (served, answer) = tokio::join!(victim, deploy);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.problem(), "does-not-compile");
    assert!(answer.text().contains(sentence), "{}", answer.text());
    assert!(served >= 10, "the victim was asked {served} times only");
    assert_eq!(host.get("/w").await.status, 200);
    assert_eq!(host.pid(), pid);
    eventually("the compiler is gone", || async {
        compilers(pid).is_empty().then_some(())
    })
    .await;
}

/// The processes that host `pid` has started.
fn compilers(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    children
        .flat_map(|pids| {
            let pids = pids.split_whitespace();
            pids.map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

async fn host(args: &[&str]) -> Host {
    let hello = guest("hello-wasip3").await;
    Host::with_open_windows_and(&[("w", &hello), ("victim", &hello)], args).await
}

#[tokio::test]
async fn a_compile_without_end_is_ended_at_its_time() {
    let host = host(&["--compile-time", "3s"]).await;
    let bomb = with_compile_bomb(&guest("hello-wstd").await);
    refused(&host, &bomb, "took longer than 3 s").await;
}

#[tokio::test]
async fn a_compile_that_eats_memory_is_ended_at_its_bound() {
    let host = host(&["--compile-memory", "512MiB"]).await;
    let bomb = with_compile_bomb(&guest("hello-wstd").await);
    refused(&host, &bomb, "needed more than 512 MiB").await;
}

#[tokio::test]
async fn a_compiler_that_crashes_costs_its_deploy_alone() {
    let host = host(&[]).await;
    let bomb = with_compile_bomb(&guest("hello-wstd").await);
    let crash = async {
        let compiler = eventually("a compiler is at work", || async {
            compilers(host.pid()).first().copied()
        })
        .await;
        // So that the victim is asked meanwhile.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let killed = std::process::Command::new("kill")
            .args(["-ABRT", &compiler.to_string()])
            .status();
        assert!(killed.unwrap().success());
    };
    tokio::join!(refused(&host, &bomb, "signal: 6"), crash);
}
