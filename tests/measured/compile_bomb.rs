//! A component that is too much for the compiler costs its own deploy and nothing else.

use hms_harness::surgery::with_compile_bomb;
use hms_harness::{Answer, Host, eventually, guest};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Deploys to window `w`, and holds that window `victim` answers every request meanwhile, and that
/// the compiler is gone afterwards and the old release serves.
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
async fn endless_compile_is_ended_at_its_time_limit() {
    let _alone = super::alone().await;
    let host = host(&["--compile-time", "8s"]).await;
    let bomb = with_compile_bomb(&guest("hello-wstd").await);
    refused(&host, &bomb, "took longer than 8 s").await;
}

#[tokio::test]
async fn memory_hungry_compile_is_ended_at_its_memory_limit() {
    let _alone = super::alone().await;
    let host = host(&["--compile-memory", "512MiB"]).await;
    let bomb = with_compile_bomb(&guest("hello-wstd").await);
    refused(&host, &bomb, "needed more than 512MiB").await;
}

#[tokio::test]
async fn crashing_compiler_fails_its_deploy_alone() {
    let _alone = super::alone().await;
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

/// Deploys as this deployer, to a window of its own.
async fn deploy_as(host: &Host, who: &str, window: &str, component: &[u8]) -> Answer {
    let token = std::fs::read_to_string(host.data().join("admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("x-hms-deployer", who)];
    let path = format!("/windows/{window}?yes=true");
    host.admin_request(Method::PUT, &path, &headers, component.to_vec())
        .await
}

#[tokio::test]
async fn deploy_flood_runs_few_compilers_and_another_deployer_gets_a_turn() {
    let _alone = super::alone().await;
    let host = host(&["--compile-time", "8s"]).await;
    let (hello, pid) = (guest("hello-wstd").await, host.pid());
    let bomb = with_compile_bomb(&hello);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = processors.saturating_sub(1).max(1);
    // One more than those that are compiled and those that may wait.
    let flood = at_once + hms_windows::MAX_DEPLOYS_WAITING + 1;
    let refused = std::sync::Mutex::new(Vec::new());
    let flooding = (0..flood).map(|n| {
        let (host, bomb, refused) = (&host, &bomb, &refused);
        async move {
            let answer = deploy_as(host, "flood", &format!("f{n}"), bomb).await;
            if answer.status == 503 {
                refused.lock().unwrap().push(answer);
            }
        }
    });
    let flooding = futures_util::future::join_all(flooding);
    let other = async {
        eventually("the queue is full", || async {
            let most = compilers(pid).len();
            assert!(most <= at_once, "{most} compilers");
            (!refused.lock().unwrap().is_empty()).then_some(())
        })
        .await;
        let begun = std::time::Instant::now();
        let answer = deploy_as(&host, "other", "w", &hello).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Those that are compiled already, and one of the flood's at most.
        let turns = begun.elapsed().as_secs_f64() / 8.0;
        assert!(turns < 6.0, "it waited for {turns} compiles");
        let metrics = host
            .admin_request(Method::GET, "/metrics", &[], Vec::new())
            .await
            .text();
        for line in [
            format!("hms_deploys_at_work{{stage=\"compile\"}} {at_once}"),
            "hms_deploys_refused_total{stage=\"compile\"} ".to_owned(),
        ] {
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    };
    tokio::select! {
        _ = flooding => panic!("all of the flood was compiled before the other was asked"),
        () = other => {}
    }
    let refused = refused.into_inner().unwrap();
    assert!(refused.len() <= 2, "{} were refused", refused.len());
    for answer in refused {
        assert_eq!(answer.problem(), "deploys-busy");
        assert_eq!(answer.header("retry-after"), "10");
    }
    assert_eq!(host.get("/victim").await.status, 200);
}
