//! A crash leaves key, event and timer of a transaction, or none of them.

use super::{event, host, stored};
use hms_harness::http::try_request;
use http::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const WRITERS: usize = 8;

/// The kill comes once this many transactions were acknowledged, with all writers at work.
const BEFORE_KILL: usize = 100;

#[tokio::test]
async fn kill_9_leaves_key_event_and_timer_together_or_none_of_them() {
    let mut host = host().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (base, count) = (host.gateway().to_owned(), count.clone());
                tokio::spawn(async move { write_until_cut(&base, round, writer, &count).await })
            })
            .collect();
        while count.load(SeqCst) < BEFORE_KILL {
            tokio::task::yield_now().await;
        }
        host.kill();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        let stored = stored(&host).await;
        let subjects = stored
            .log
            .iter()
            .map(|it| it.event.subject.clone().unwrap());
        let subjects: BTreeSet<String> = subjects.collect();
        let timers = stored.waiting.iter();
        let timers: BTreeSet<String> = timers
            .map(|(_, it)| it.event.subject.clone().unwrap())
            .collect();
        assert_eq!(subjects, stored.keys);
        assert!(timers.is_subset(&stored.keys));
        assert!(timers.len() == stored.keys.len().min(1000));
        assert!(acknowledged.is_subset(&stored.keys));
        // Each once, in order, without gaps.
        let sequences: Vec<u64> = stored.log.iter().map(|it| it.sequence).collect();
        assert_eq!(sequences, (1..=stored.log.len() as u64).collect::<Vec<_>>());
        let ids: BTreeSet<&String> = stored.log.iter().map(|it| &it.id).collect();
        assert_eq!(ids.len(), stored.log.len());
        host.boot().await;
    }
}

/// One transaction after another; the names of those that were acknowledged before the host was
/// gone.
async fn write_until_cut(
    base: &str,
    round: usize,
    writer: usize,
    acknowledged: &AtomicUsize,
) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0.. {
        let name = format!("{round}-{writer}-{number}");
        let task = json!({
            "set": { name.as_str(): "x" },
            "events": [event(&name)],
            "timers": [{ "name": "remind", "subject": name, "after_ms": 86_400_000 }],
        });
        let url = format!("{base}/emitter/do");
        let answer = try_request(Method::POST, &url, &[], task.to_string().into_bytes()).await;
        match answer {
            Ok(answer) if answer.status == 200 => {
                acknowledged.fetch_add(1, SeqCst);
                names.push(name);
            }
            Ok(answer) => panic!("{} {}", answer.status, answer.text()),
            Err(_) => break,
        }
    }
    names
}
