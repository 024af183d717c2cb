//! Events that are not taken at once.

use super::office::{
    all, answering, came_to, delivered, deliveries, each_once, effects, emit, event, gauge_is,
    host, noted, outcomes, replay,
};
use hms_harness::{eventually, guest};
use serde_json::json;

#[tokio::test]
async fn event_on_which_a_release_fails_is_delivered_to_the_next_one() {
    let host = host(&["inbox"]).await;
    host.deploy("inbox", &guest("prober").await).await;
    host.write_grants("inbox", &all(&["to: /trap"]));
    let ids = emit(&host, &[event("one", "x")]).await;
    came_to(&host, "inbox", "again").await;
    host.deploy("inbox", &guest("subscriber").await).await;
    each_once(&host, "inbox", &ids).await;
    let [delivery] = &*deliveries(&host, "inbox").await else {
        panic!("it was delivered again");
    };
    assert!(delivery.attempt > 1, "{delivery:?}");
}

#[tokio::test]
async fn event_whose_time_is_over_is_parked_once_with_its_payload() {
    let mut host = host(&["inbox"]).await;
    let spec = all(&["retry: {first: 100ms, max: 200ms, for: 1s}"]);
    host.write_grants("inbox", &spec);
    let poison = json!({ "status": 500 }).to_string();
    let ids = emit(
        &host,
        &[event("one", poison.as_str()), event("one", "next")],
    )
    .await;
    gauge_is(&host, "parked", "inbox", 1).await;
    // Its key goes on.
    each_once(&host, "inbox", &ids[1..]).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    host.terminate().await;
    let noted = noted(&host, "inbox").await;
    assert_eq!((noted.parked, noted.tried.len()), (vec![poison], 0));
    host.boot().await;
    gauge_is(&host, "parked", "inbox", 1).await;
}

#[tokio::test]
async fn event_that_fails_holds_its_key_and_no_other() {
    let host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let poison = json!({ "status": 500 }).to_string();
    let poison = event("a", poison);
    let ids = emit(&host, &[poison, event("a", "next"), event("b", "other")]).await;
    each_once(&host, "inbox", &ids[2..]).await;
    gauge_is(&host, "blocked_keys", "inbox", 1).await;
    gauge_is(&host, "lag", "inbox", 2).await;
    let all = deliveries(&host, "inbox").await;
    assert!(all.iter().all(|one| one.data != "next"), "{all:?}");
}

#[tokio::test]
async fn rejected_event_holds_its_key_over_a_restart_if_its_file_says_so() {
    let mut host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&["after-park: hold"]));
    let poison = event("a", json!({ "status": 422 }).to_string());
    emit(&host, &[poison, event("a", "next"), event("b", "other")]).await;
    gauge_is(&host, "parked", "inbox", 1).await;
    delivered(&host, "inbox", "other").await;
    host.kill();
    host.boot().await;
    emit(&host, &[event("b", "later")]).await;
    delivered(&host, "inbox", "later").await;
    gauge_is(&host, "blocked_keys", "inbox", 1).await;
    let all = deliveries(&host, "inbox").await;
    assert!(all.iter().all(|one| one.data != "next"), "{all:?}");
}

#[tokio::test]
async fn retries_of_a_subscription_do_not_hold_another_of_the_same_source() {
    let host = host(&["failing", "inbox"]).await;
    let failing = answering(&json!({ "status": 503 }));
    host.write_grants("failing", &format!("{}{failing}", all(&[])));
    host.write_grants("inbox", &all(&[]));
    let mut ids = Vec::new();
    for data in ["1st", "2nd"] {
        ids.extend(emit(&host, &[event("one", data)]).await);
        each_once(&host, "inbox", &ids).await;
        gauge_is(&host, "lag", "inbox", 0).await;
        gauge_is(&host, "lag", "failing", ids.len() as u64).await;
    }
    host.write_grants("failing", &all(&[]));
    each_once(&host, "failing", &ids).await;
    let of_inbox = deliveries(&host, "inbox").await;
    assert_eq!(of_inbox.len(), 2, "{of_inbox:?}");
}

#[tokio::test]
async fn full_outbox_refuses_its_producer_until_all_have_taken_what_is_in_it() {
    let host = host(&["inbox"]).await;
    let failing = answering(&json!({ "status": 503 }));
    host.write_grants("inbox", &format!("{}{failing}", all(&[])));
    // An outbox holds what a subscription has still to take.
    gauge_is(&host, "lag", "inbox", 0).await;
    host.limit("emitter", &["--outbox", "100KiB"]).await;
    let task = |number: usize| {
        let event = json!({ "kind": "a", "subject": number.to_string(), "bytes": 40_000 });
        json!({ "events": [event] }).to_string()
    };
    let emit = async |number: usize| {
        let post = http::Method::POST;
        host.call(post, "/emitter/do", &[], task(number)).await
    };
    let mut taken = Vec::new();
    let refused = loop {
        let answer = emit(taken.len()).await;
        match answer.status.as_u16() {
            200 => taken.push(answer.json()["ids"][0].as_str().unwrap().to_owned()),
            _ => break answer.json(),
        }
        assert!(taken.len() < 10, "it is never full");
    };
    assert_eq!(refused["error"], "outbox-full", "{refused}");
    host.write_grants("inbox", &all(&[]));
    each_once(&host, "inbox", &taken).await;
    let emit = &emit;
    let answer = hms_harness::eventually("there is room", || async move {
        let answer = emit(99).await;
        (answer.status == 200).then_some(answer)
    });
    let id = answer.await.json()["ids"][0].as_str().unwrap().to_owned();
    taken.push(id);
    each_once(&host, "inbox", &taken).await;
}

#[tokio::test]
async fn subscription_pauses_a_thousand_events_beyond_one_that_fails_and_goes_on_by_itself() {
    let host = host(&["inbox"]).await;
    let failing = answering(&json!({ "status": 503 }));
    host.write_grants("inbox", &format!("{}{failing}", all(&[])));
    // Those of the first key wait for the first of them.
    for _ in 0..4 {
        let events: Vec<_> = (0..250).map(|_| event("one", "x")).collect();
        emit(&host, &events).await;
    }
    emit(&host, &[event("two", "beyond")]).await;
    gauge_is(&host, "lag", "inbox", 1_001).await;
    // They take longer than the sweep that looks for what was missed, and after each of them the
    // subscription might read on.
    let attempts = 12;
    eventually(&format!("it fails {attempts} times"), || async {
        (outcomes(&host, "inbox", "again").await >= attempts).then_some(())
    })
    .await;
    let seen = deliveries(&host, "inbox").await;
    assert!(seen.iter().all(|one| one.data == "x"), "it was read");
    host.write_grants("inbox", &all(&[]));
    delivered(&host, "inbox", "beyond").await;
    gauge_is(&host, "paused", "inbox", 0).await;
}

#[tokio::test]
async fn replay_has_its_effect_again_though_each_delivery_of_a_round_has_it_once() {
    let host = host(&["inbox"]).await;
    host.write_grants("inbox", &all(&[]));
    let ids = emit(&host, &[event("one", "1st"), event("two", "2nd")]).await;
    each_once(&host, "inbox", &ids).await;
    gauge_is(&host, "lag", "inbox", 0).await;
    replay(&host, "inbox").await;
    let last = emit(&host, &[event("one", "3rd")]).await;
    let wanted = [(&ids[0], 2), (&ids[1], 2), (&last[0], 1)];
    let wanted = wanted.map(|(id, times)| (id.clone(), times)).into();
    eventually("the effects are there again", || async {
        (effects(&host, "inbox").await == wanted).then_some(())
    })
    .await;
}
