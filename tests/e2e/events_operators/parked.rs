//! `hms parked`.

use super::{
    LIST, NOWHERE, emit, failed, got, host, refusal, said, status, subscribe, subscription,
};
use hms_api::ParkedList;
use http::Method;

#[tokio::test]
async fn parked_events_are_listed_dropped_and_delivered_once_the_cause_is_gone() {
    let host = host(&subscription(NOWHERE)).await;
    for event in ["first;", "second;", "third;"] {
        emit(&host, "a.v1", event.trim_end_matches(';'), event).await;
    }
    status(&host, |status| status.parked == 3).await;
    let list: ParkedList = host
        .admin(Method::GET, "/parked?window=inbox", "")
        .await
        .read();
    let first = &list.parked[0];
    assert_eq!(
        (first.source.as_str(), first.status),
        ("emitter", Some(404))
    );
    assert_eq!(first.event.data.as_deref(), Some("first;"));
    let path = format!("/parked?limit=2&after={}", first.id);
    let after: ParkedList = host.admin(Method::GET, &path, "").await.read();
    assert_eq!((after.parked.len(), after.more), (2, false));
    let table = said(&host, "parked", &["--of", "inbox/all"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for (line, one) in lines[1..].iter().zip(&list.parked) {
        let cells = line.split("  ").map(str::trim);
        let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        let sequence = one.event.sequence.to_string();
        // The two that `hms events` wants are beside each other.
        assert_eq!(cells[..3], [&*one.id, &one.source, &sequence], "{table}");
        assert!(line.ends_with(&one.why), "{table}");
    }
    assert_eq!(
        said(&host, "parked", &["--of", "emitter"])
            .await
            .lines()
            .count(),
        1
    );
    let windows = said(&host, "windows", &[]).await;
    assert!(windows.contains("inbox: parked events: 3"), "{windows}");

    let asked = failed(&host, "parked", &["drop", &first.id]).await;
    assert!(asked.contains("repeat with --yes to drop"), "{asked}");
    let dropped = said(&host, "parked", &["drop", &first.id, "--yes"]).await;
    assert_eq!(dropped, format!("{}: 1 event is dropped\n", first.id));
    let gone = "/windows/inbox/subscriptions/all/parked/0-1";
    for (method, path) in [
        (Method::POST, format!("{gone}/retry")),
        (Method::DELETE, gone.into()),
    ] {
        let refused = refusal(&host, method, &path, "").await;
        assert_eq!(refused, (404, "no-such-parked-event".into()));
    }
    let error = failed(&host, "parked", &["retry", &first.id]).await;
    assert!(error.contains("`hms parked` lists them"), "{error}");
    let error = failed(&host, "parked", &["retry", "inbox"]).await;
    assert!(error.contains("write WINDOW/SUBSCRIPTION/EVENT"), "{error}");
    let all = "/windows/inbox/subscriptions/nobody/parked";
    let refused = refusal(&host, Method::DELETE, all, "").await;
    assert_eq!(refused, (404, "no-such-subscription".into()));

    // A path that the window has.
    subscribe(&host, &subscription(LIST), 1).await;
    let one = &list.parked[1].id;
    let retried = said(&host, "parked", &["retry", one]).await;
    assert_eq!(retried, format!("{one}: 1 event is queued for retry\n"));
    got(&host, &["second;"]).await;
    status(&host, |status| status.parked == 1).await;
    let retried = said(&host, "parked", &["retry", "inbox/all"]).await;
    assert_eq!(retried, "inbox/all: 1 event is queued for retry\n");
    let text = got(&host, &["third;"]).await;
    assert!(!text.contains("first;"), "{text}");
    status(&host, |status| status.parked == 0).await;
}

#[tokio::test]
async fn parked_events_are_listed_by_their_numbers_and_dropped_at_once() {
    let host = host(&subscription(NOWHERE)).await;
    for number in 0..10 {
        emit(&host, "a.v1", &number.to_string(), "x").await;
    }
    status(&host, |status| status.parked == 10).await;
    let mut sequences = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/parked?limit=3{after}");
        let page: ParkedList = host.admin(Method::GET, &path, "").await.read();
        sequences.extend(page.parked.iter().map(|one| one.event.sequence));
        after = format!("&after={}", page.parked.last().unwrap().id);
        if !page.more {
            break;
        }
    }
    assert_eq!(sequences, Vec::from_iter(1..=10));
    let dropped = said(&host, "parked", &["drop", "inbox/all", "--yes"]).await;
    assert_eq!(dropped, "inbox/all: 10 events are dropped\n");
    status(&host, |status| status.parked == 0 && status.lag == 0).await;
    let list: ParkedList = host.admin(Method::GET, "/parked", "").await.read();
    assert!(list.parked.is_empty() && !list.more);
}

#[tokio::test]
async fn retry_of_a_paused_subscription_says_that_it_is_paused_and_waits() {
    let host = host(&subscription(NOWHERE)).await;
    emit(&host, "a.v1", "one", "first;").await;
    status(&host, |status| status.parked == 1).await;
    said(&host, "subscriptions", &["inbox/all", "pause"]).await;
    subscribe(&host, &subscription(LIST), 1).await;
    let retried = said(&host, "parked", &["retry", "inbox/all"]).await;
    let paused = "inbox/all is paused since ";
    assert!(
        retried.starts_with("inbox/all: 1 event is queued for retry\n")
            && retried.contains(paused)
            && retried.contains("`hms subscriptions inbox/all resume`"),
        "{retried}"
    );
    let list: ParkedList = host.admin(Method::GET, "/parked", "").await.read();
    let again = said(&host, "parked", &["retry", &list.parked[0].id]).await;
    assert!(again.contains(paused), "{again}");
    said(&host, "subscriptions", &["inbox/all", "resume"]).await;
    got(&host, &["first;"]).await;
}

#[tokio::test]
async fn parked_events_of_a_removed_subscription_are_listed_until_they_are_dropped() {
    let host = host(&subscription(NOWHERE)).await;
    for event in ["first;", "second;"] {
        emit(&host, "a.v1", "one", event).await;
    }
    status(&host, |status| status.parked == 2).await;
    subscribe(&host, "internal: false\n", 0).await;
    let list: ParkedList = host.admin(Method::GET, "/parked", "").await.read();
    assert!(list.parked.len() == 2 && list.parked.iter().all(|one| one.removed));
    let table = said(&host, "parked", &[]).await;
    assert!(table.contains("inbox/all is removed"), "{table}");
    let first = &list.parked[0].id;
    let error = failed(&host, "parked", &["retry", first]).await;
    assert!(error.contains("put it back there"), "{error}");
    let path = "/windows/inbox/subscriptions/all/parked/retry";
    let refused = refusal(&host, Method::POST, path, "").await;
    assert_eq!(refused, (409, "subscription-removed".into()));
    for dropped in [&**first, "inbox/all"] {
        let said = said(&host, "parked", &["drop", dropped, "--yes"]).await;
        assert_eq!(said, format!("{dropped}: 1 event is dropped\n"));
    }
    let list: ParkedList = host.admin(Method::GET, "/parked", "").await.read();
    assert!(list.parked.is_empty());
}
