//! Whatever a guest does, the process lives, its neighbour is served, its own client sees one clear
//! outcome, the right reason is counted, and the host's memory grows by no more than the window's
//! limit and a fixed slack. At length, with the neighbour's times, by `cargo bench --bench
//! hostile`.

use futures_util::future::join_all;
use hms_harness::eventually;
use hms_harness::guests::guest;
use hms_harness::hostile::{self, ACTS};
use hms_harness::process::Peak;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Short enough that all of it takes a minute; what is slow of it, the store, has the time it
/// needs.
const ARGS: [&str; 4] = ["--instance-cpu-time", "1s", "--instance-wall-time", "5s"];

/// Requests that do the same at once.
const AT_ONCE: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_guest_disturbs_no_neighbour_and_its_client_sees_one_clear_outcome() {
    let _alone = super::alone().await;
    let victim = guest("hello-wasip3").await;
    let host = Arc::new(hostile::host(&victim, &ARGS).await);
    let pid = host.pid();
    let (over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let victim = tokio::spawn({
        let (host, over, served) = (host.clone(), over.clone(), served.clone());
        async move {
            while !over.load(Relaxed) {
                let answer = host.get("/victim").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.cut.is_none(), "{answer:?}");
                served.fetch_add(1, Relaxed);
            }
        }
    });
    let mut wrong = Vec::new();
    for act in ACTS {
        let before = served.load(Relaxed);
        let counted_before = match act.reason {
            Some(reason) => host.failures(act.window, reason).await,
            None => 0,
        };
        let peak = Peak::since_now(pid);
        let seen = join_all((0..AT_ONCE).map(|_| act.once(host.gateway()))).await;
        let memory = act.check_memory(&peak, AT_ONCE);
        wrong.extend(memory.err());
        println!("{}: {:.0} MiB more", act.name, peak.grown_mib());
        wrong.extend(seen.iter().filter_map(|seen| act.check(seen).err()));
        if let Some(reason) = act.reason {
            let counts = host.failures(act.window, reason).await;
            if counts < counted_before + AT_ONCE as u64 {
                wrong.push(format!(
                    "{}: {reason} was counted {counted_before}, then {counts} times",
                    act.name
                ));
            }
        }
        eventually("the victim is served beside it", || async {
            (served.load(Relaxed) > before).then_some(())
        })
        .await;
    }
    over.store(true, Relaxed);
    victim.await.unwrap();
    assert_eq!(host.pid(), pid);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
