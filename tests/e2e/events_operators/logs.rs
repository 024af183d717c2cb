//! `hms events`.

use super::{LIST, emit, failed, host, refusal, said, subscription};
use hms_api::{Event, EventList};
use hms_harness::eventually;
use http::Method;
use serde_json::{Deserializer, Value};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn json(text: &str) -> Vec<Value> {
    let values = Deserializer::from_str(text).into_iter();
    values.map(Result::unwrap).collect()
}

#[tokio::test]
async fn events_of_a_window_are_listed_and_shown() {
    let host = host(&subscription(LIST)).await;
    assert!(
        said(&host, "events", &["emitter"])
            .await
            .starts_with("SEQUENCE")
    );
    for (kind, data) in [
        ("a.x.v1", "first;"),
        ("a.y.v1", "second;"),
        ("b.v1", "third;"),
    ] {
        emit(&host, kind, "one", data).await;
    }
    let all = said(&host, "events", &["emitter"]).await;
    assert!(all.contains("a.x.v1") && all.contains("third;"), "{all}");
    assert_eq!(all.lines().count(), 4, "{all}");
    let some = said(
        &host,
        "events",
        &["emitter", "--after", "1", "--type", "a."],
    )
    .await;
    assert!(
        some.contains("second;") && some.lines().count() == 2,
        "{some}"
    );
    let values = json(&said(&host, "events", &["emitter", "--json"]).await);
    let sequences: Vec<u64> = values
        .iter()
        .map(|it| it["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences, [1, 2, 3]);
    let one = said(&host, "events", &["emitter", "2"]).await;
    assert!(
        one.contains("type          a.y.v1") && one.ends_with("\nsecond;\n"),
        "{one}"
    );
    let event: Event = host
        .admin(Method::GET, "/windows/emitter/events/3", "")
        .await
        .read();
    assert_eq!(
        (event.r#type.as_str(), event.data.as_deref()),
        ("b.v1", Some("third;"))
    );

    let path = "/windows/emitter/events?limit=2";
    let last: EventList = host.admin(Method::GET, path, "").await.read();
    assert_eq!((last.events.len(), last.after, last.more), (2, 3, false));
    let path = "/windows/emitter/events?after=0&limit=2";
    let first: EventList = host.admin(Method::GET, path, "").await.read();
    assert_eq!((first.events.len(), first.after, first.more), (2, 2, true));
    for (path, code) in [
        ("/windows/nobody/events", (404, "no-window")),
        ("/windows/emitter/events/99", (404, "no-such-event")),
        ("/windows/emitter/events/x", (400, "bad-request")),
        ("/windows/emitter/events?limit=0", (400, "bad-request")),
        ("/windows/emitter/events?befor=3", (400, "bad-request")),
    ] {
        let (status, said) = refusal(&host, Method::GET, path, "").await;
        assert_eq!((status, said.as_str()), code, "{path}");
    }
    let error = failed(&host, "events", &["nobody"]).await;
    assert!(error.contains("there is no window 'nobody'"), "{error}");
    let output = host.cli("events", &["nobody"]).await;
    assert!(output.stdout.is_empty(), "{output:?}");
    let lines = said(&host, "events", &["emitter", "--after", "0", "--json"]).await;
    let sequences = lines.lines().map(|line| {
        let event: Event = serde_json::from_str(line).unwrap();
        event.sequence
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [1, 2, 3]);

    let sample = r#"hms_events_emitted_total{window="emitter"}"#;
    assert_eq!(host.metric(sample).await, Some(3));
    let bound = r#"hms_outbox_limit_bytes{window="emitter"}"#;
    assert_eq!(host.metric(bound).await, Some(256 << 20));
    let bytes = r#"hms_outbox_bytes{window="emitter"}"#;
    assert!(
        host.metric(bytes)
            .await
            .is_some_and(|bytes| bytes > 3 * 256)
    );
}

#[tokio::test]
async fn events_are_followed_as_they_come_and_do_not_hold_up_the_end_of_the_host() {
    let mut host = host(&subscription(LIST)).await;
    emit(&host, "a.v1", "one", "first;").await;
    let mut command: Command = host.hms("events");
    command.args(["--admin", host.admin_url(), "emitter", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let read = Arc::new(Mutex::new(String::new()));
    let reader = std::thread::spawn({
        let read = read.clone();
        move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                read.lock().unwrap().push_str(&text);
            }
        }
    });
    let follows = async |wanted: &str| {
        eventually("it is followed", || async {
            read.lock().unwrap().contains(wanted).then_some(())
        })
        .await;
    };
    follows("first;").await;
    emit(&host, "a.v1", "one", "second;").await;
    follows("second;").await;
    // One that waits for more than there is.
    let path = "/windows/emitter/events?after=2&type=b.&follow=true";
    let (waited, ()) = tokio::join!(host.admin(Method::GET, path, ""), async {
        emit(&host, "a.v1", "one", "third;").await;
        emit(&host, "b.v1", "one", "fourth;").await;
    });
    let list: EventList = waited.read();
    assert_eq!((list.events.len(), list.after), (1, 4));
    follows("fourth;").await;
    let begun = Instant::now();
    host.terminate().await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // Without its host it says why it ends.
    assert!(!child.wait().unwrap().success());
    reader.join().unwrap();
    let read = read.lock().unwrap();
    for event in ["first;", "second;", "third;", "fourth;"] {
        assert_eq!(read.matches(event).count(), 1, "{read}");
    }
}
