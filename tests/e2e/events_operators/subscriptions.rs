//! `hms subscriptions`, `hms schedules`, and what a removal says.

use super::{LIST, emit, failed, got, host, refusal, said, status, subscribe, subscription};
use hms_api::{Changed, Replayed, RunSchedule, ScheduleList};
use hms_harness::eventually;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn paused_subscription_keeps_its_events_over_a_restart_until_it_is_resumed() {
    let mut host = host(&subscription(LIST)).await;
    emit(&host, "a.v1", "one", "first;").await;
    got(&host, &["first;"]).await;
    let paused = said(&host, "subscriptions", &["inbox/all", "pause"]).await;
    assert!(paused.contains("inbox/all is paused since"), "{paused}");
    emit(&host, "a.v1", "one", "second;").await;
    host.terminate().await;
    host.boot().await;
    status(&host, |status| status.paused.is_some() && status.lag == 1).await;
    let list = said(&host, "subscriptions", &[]).await;
    assert!(
        list.contains("inbox/all") && list.contains("an operator paused it"),
        "{list}"
    );
    let one = said(&host, "subscriptions", &["inbox", "--json"]).await;
    assert!(one.contains(r#""state": "paused""#), "{one}");
    let windows = said(&host, "windows", &[]).await;
    assert!(
        windows.contains("inbox: paused subscriptions: all"),
        "{windows}"
    );
    let deliveries = host.window("inbox").await.deliveries.unwrap();
    assert_eq!(
        (deliveries.paused, deliveries.parked),
        (vec!["all".into()], 0)
    );
    assert_eq!(host.window("emitter").await.deliveries, None);
    let list = got(&host, &["first;"]).await;
    assert!(!list.contains("second;"), "{list}");

    // The events would be lost with the store.
    let args = ["emitter", "--delete-store", "--yes"];
    let refused = failed(&host, "remove", &args).await;
    for part in [
        "inbox/all (1)",
        "`hms subscriptions`",
        "take the subscription out",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let resumed = said(&host, "subscriptions", &["inbox/all", "resume"]).await;
    assert_eq!(resumed, "inbox/all is active\n");
    got(&host, &["second;"]).await;
    status(&host, |status| status.lag == 0).await;
    assert_eq!(host.window("inbox").await.deliveries, None);
    said(&host, "remove", &args).await;
    assert!(
        host.admin(Method::GET, "/windows/emitter/events", "")
            .await
            .status
            == 404
    );
}

#[tokio::test]
async fn replay_delivers_once_more_what_was_emitted_since_a_time() {
    let host = host(&subscription(LIST)).await;
    emit(&host, "a.v1", "one", "first;").await;
    emit(&host, "a.v1", "two", "second;").await;
    got(&host, &["first;", "second;"]).await;
    status(&host, |status| status.lag == 0).await;
    let replayed = said(
        &host,
        "subscriptions",
        &["inbox/all", "replay", "--from", "2h"],
    )
    .await;
    assert!(replayed.starts_with("2 events from "), "{replayed}");
    eventually("both are there again", || async {
        let text = host.get("/inbox/kv/inbox/all").await.text();
        let twice = |event: &str| text.matches(event).count() == 2;
        (twice("first;") && twice("second;")).then_some(())
    })
    .await;
    let path = "/windows/inbox/subscriptions/all/replay";
    let body = json!({ "from": "2100-01-01T00:00:00Z" }).to_string();
    let none: Changed<Replayed> = host.admin(Method::POST, path, body).await.read();
    assert_eq!((none.what.events, none.durable), (0, true));
    let nobody = "/windows/inbox/subscriptions/nobody";
    for (method, path, body, code) in [
        (Method::POST, path, "{}", (400, "bad-request")),
        (
            Method::POST,
            path,
            r#"{"from": "now"}"#,
            (400, "bad-request"),
        ),
        (Method::GET, nobody, "", (404, "no-such-subscription")),
        (
            Method::POST,
            &format!("{nobody}/pause"),
            "",
            (404, "no-such-subscription"),
        ),
        (Method::GET, path, "", (405, "method-not-allowed")),
        (
            Method::GET,
            &format!("{nobody}/nothing"),
            "",
            (404, "not-found"),
        ),
    ] {
        let case = format!("{method} {path} {body}");
        let (status, said) = refusal(&host, method, path, body).await;
        assert_eq!((status, said.as_str()), code, "{case}");
    }
    for (args, why) in [
        (
            vec!["inbox", "pause"],
            "say which subscription, as WINDOW/NAME",
        ),
        (vec!["inbox/all", "replay"], "such as --from 2h"),
        (vec!["inbox/all", "replay", "--from", "soon"], "not a time"),
        (
            vec!["inbox/nobody", "resume"],
            "`hms subscriptions` lists the subscriptions",
        ),
    ] {
        let error = failed(&host, "subscriptions", &args).await;
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn schedule_is_run_when_an_operator_says_so() {
    let both = format!(
        "{}schedules:\n  yearly: {{cron: \"0 0 1 1 *\", to: /cas/inbox/jobs}}\n",
        subscription(LIST)
    );
    let host = host(&subscription(LIST)).await;
    // Its runs have a subscription of their own.
    subscribe(&host, &both, 2).await;
    let list = eventually("the schedule is known", || async {
        let list = said(&host, "schedules", &[]).await;
        list.contains("inbox/yearly").then_some(list)
    })
    .await;
    assert!(
        list.contains("0 0 1 1 *") && list.contains("-01-01T00:00:00Z"),
        "{list}"
    );
    let run = said(&host, "schedules", &["run", "inbox/yearly"]).await;
    assert_eq!(
        run,
        "inbox/yearly: a run is on its way to /cas/inbox/jobs\n"
    );
    eventually("it has run", || async {
        let text = host.get("/inbox/kv/inbox/jobs").await.text();
        text.contains("yearly").then_some(())
    })
    .await;
    eventually("it is over", || async {
        let path = "/schedules?window=inbox";
        let list: ScheduleList = host.admin(Method::GET, path, "").await.read();
        let one = &list.schedules[0];
        (one.last.is_some() && !one.running).then_some(())
    })
    .await;
    let path = "/windows/inbox/schedules/yearly/run";
    let run: Changed<RunSchedule> = host.admin(Method::POST, path, "").await.read();
    assert_eq!(run.what.schedule.name, "yearly");
    let runs = "inbox/hms.schedule.yearly";
    said(&host, "subscriptions", &[runs, "pause"]).await;
    let paused = format!("{runs} is paused since ");
    for verb in ["schedules", "subscriptions"] {
        let list = said(&host, verb, &[]).await;
        assert!(list.contains(&paused), "{list}");
    }
    let windows = said(&host, "windows", &[]).await;
    assert!(
        windows.contains("inbox: paused subscriptions: hms.schedule.yearly"),
        "{windows}"
    );
    let error = failed(&host, "schedules", &["run", "inbox/nightly"]).await;
    assert!(error.contains("no schedule 'nightly'"), "{error}");
    let none: ScheduleList = host
        .admin(Method::GET, "/schedules?window=emitter", "")
        .await
        .read();
    assert!(none.schedules.is_empty());
}
