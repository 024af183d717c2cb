//! Calls between windows.

use super::*;
use futures_util::future::join_all;
use http_body::Frame;
use http_body_util::StreamBody;
use std::time::Instant;

const CALLERS: [&str; 2] = ["caller", "caller-wstd"];

#[tokio::test]
async fn call_that_is_granted_is_answered_by_the_other_window_as_the_host_says() {
    for caller in CALLERS {
        let fixture = Fixture::new(&[("a", caller), ("b", "prober")], 32).await;
        fixture.grant("a", calls(&["b"]));
        for name in ["hms-svc-b", "HMS-SVC-B:8080", "b.spin.internal"] {
            let answer = fixture
                .ask("a", &format!("/get?http://{name}/status?code=418"))
                .await;
            assert_eq!(answer.status, 418, "{caller} {name} {}", answer.text());
        }
        let seen = fixture
            .ask("a", "/copy?http://hms-svc-b/headers")
            .await
            .json();
        for (name, value) in [
            ("x-hms-window", "a"),
            ("x-hms-user", "alice"),
            ("x-hms-scopes", "a.read a.write"),
            ("x-request-id", "of-alice"),
        ] {
            assert_eq!(seen[name], json!([value]), "{caller}: {seen}");
        }
        assert!(!seen["traceparent"].is_null(), "{caller}: {seen}");
        for gone in ["authorization", "cookie", "x-forwarded-for", "x_hms_window"] {
            assert_eq!(seen[gone], Value::Null, "{caller}: {seen}");
        }
        fixture.rests("b").await;
        assert_eq!(fixture.count("a", "b", "4xx"), 3, "{caller}");
        assert_eq!(fixture.count("a", "b", "ok"), 1, "{caller}");
        assert!(fixture.failures("a").is_empty() && fixture.failures("b").is_empty());
    }
}

#[tokio::test]
async fn request_that_is_passed_on_whole_takes_its_body_and_not_its_clients_credentials() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    let pieces =
        (0..128).map(|_| Ok::<_, BodyError>(Frame::data(Bytes::from(vec![b'x'; 1 << 16]))));
    let large = StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync();
    let echoed = fixture
        .ask_as("alice", "a", "/pass?http://hms-svc-b/echo", large)
        .await;
    assert_eq!((echoed.status.as_u16(), echoed.body.len()), (200, 8 << 20));
    let seen = fixture
        .ask("a", "/pass?http://hms-svc-b/headers")
        .await
        .json();
    assert_eq!(seen["x-hms-user"], json!(["alice"]));
    assert_eq!(seen["x-hms-window"], json!(["a"]));
    for gone in ["authorization", "cookie", "x-forwarded-for"] {
        assert_eq!(seen[gone], Value::Null, "{seen}");
    }
}

#[tokio::test]
async fn call_without_a_grant_is_refused_and_the_log_says_which_would_allow_it() {
    for caller in CALLERS {
        let fixture = Fixture::new(&[("a", caller), ("b", "prober")], 32).await;
        for (granted, grants) in [("nothing", Grants::default()), ("another", calls(&["c"]))] {
            fixture.grant("a", grants);
            let answer = fixture.ask("a", "/get?http://hms-svc-b/headers").await;
            assert_eq!(answer.status, 502, "{caller} {granted}");
            assert!(
                answer.text().contains("HttpRequestDenied"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(fixture.failures("a")["not-granted"], 2);
        let log = fixture.log("a");
        assert!(log.contains("add to windows/a.yaml: calls: [b]"), "{log}");
        fixture.grant("a", calls(&["b"]));
        let answer = fixture.ask("a", "/get?http://hms-svc-b/status").await;
        assert_eq!(answer.status, 200, "the grant holds at once");
        assert!(fixture.failures("b").is_empty());
    }
}

#[tokio::test]
async fn call_as_self_has_no_user() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    let mut grants = calls(&["b"]);
    grants.calls[0].as_self = true;
    fixture.grant("a", grants);
    let seen = fixture
        .ask("a", "/copy?http://hms-svc-b/headers")
        .await
        .json();
    assert_eq!(seen["x-hms-window"], json!(["a"]));
    assert_eq!(seen["x-hms-user"], Value::Null, "{seen}");
    assert_eq!(seen["x-hms-scopes"], Value::Null, "{seen}");
}

#[tokio::test]
async fn window_that_is_internal_is_there_for_windows_alone() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    let internal = Grants {
        internal: true,
        ..Grants::default()
    };
    fixture.grant("b", internal);
    let answer = fixture.ask("b", "/status").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("window-internal"),
        "{}",
        answer.text()
    );
    let answer = fixture.ask("a", "/get?http://hms-svc-b/status").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn windows_that_call_in_a_circle_or_too_deep_are_told_and_no_further_one_is_called() {
    let names = ["a", "b", "c", "d", "e"];
    let fixture = Fixture::new(&names.map(|name| (name, "caller")), 64).await;
    for name in names {
        let others: Vec<&str> = names.into_iter().filter(|other| *other != name).collect();
        fixture.grant(name, calls(&others));
    }
    let circle = "/get?http://hms-svc-b/get?http://hms-svc-a/get?http://hms-svc-c/";
    let answer = fixture.ask("a", circle).await;
    assert!(answer.text().contains("LoopDetected"), "{}", answer.text());
    assert_eq!(fixture.failures("b")["loop-detected"], 1);
    let deep =
        "/get?http://hms-svc-b/get?http://hms-svc-c/get?http://hms-svc-d/get?http://hms-svc-e/";
    let answer = fixture.ask("a", deep).await;
    assert!(answer.text().contains("LoopDetected"), "{}", answer.text());
    assert_eq!(fixture.failures("d")["loop-detected"], 1);
    assert_eq!(
        fixture.count("d", "e", "ok") + fixture.count("d", "e", "4xx"),
        0
    );
    let four = "/get?http://hms-svc-b/get?http://hms-svc-c/get?http://hms-svc-d/";
    let answer = fixture.ask("a", four).await;
    assert!(answer.text().contains("no such way"), "{}", answer.text());
}

#[tokio::test]
async fn calls_of_a_request_are_bounded() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    fixture.limit("a", json!({"calls_per_request": 3})).await;
    let answer = fixture
        .ask("a", "/times-5?http://hms-svc-b/status")
        .await
        .text();
    assert_eq!(
        answer.lines().filter(|line| *line == "200").count(),
        3,
        "{answer}"
    );
    assert_eq!(
        answer.matches("ConnectionLimitReached").count(),
        2,
        "{answer}"
    );
    assert_eq!(fixture.failures("a")["calls-per-request"], 2);
}

#[tokio::test]
async fn callee_has_no_more_time_than_its_caller_and_is_not_to_blame() {
    for caller in CALLERS {
        let fixture = Fixture::new(&[("a", caller), ("b", "prober")], 32).await;
        fixture.grant("a", calls(&["b"]));
        fixture.limit("a", json!({"wall_time_ms": 700})).await;
        let begun = Instant::now();
        let answer = fixture
            .ask("a", "/get?http://hms-svc-b/sleep?ms=20000")
            .await;
        assert!(answer.text().contains("wall-time"), "{}", answer.text());
        fixture.rests("b").await;
        assert!(begun.elapsed() < Duration::from_secs(15));
        let (status, _) = fixture.registry.status(&"b".parse().unwrap()).unwrap();
        assert_eq!(status.tripped, None);
    }
}

#[tokio::test]
async fn caller_that_requests_less_time_is_answered_in_time() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    let answer = fixture
        .ask("a", "/within-200?http://hms-svc-b/sleep?ms=20000")
        .await;
    assert!(
        answer.text().contains("HttpResponseTimeout"),
        "{}",
        answer.text()
    );
    fixture.rests("b").await;
    assert!(fixture.failures("b").is_empty());
}

#[tokio::test]
async fn client_that_goes_takes_all_that_was_called_for_it_along() {
    for caller in CALLERS {
        let windows = [("a", caller), ("b", caller), ("c", "prober")];
        let fixture = Fixture::new(&windows, 32).await;
        fixture.grant("a", calls(&["b"]));
        fixture.grant("b", calls(&["c"]));
        let path = "/get?http://hms-svc-b/get?http://hms-svc-c/sleep?ms=20000";
        let leases = |name: &str| {
            let (status, _) = fixture.registry.status(&name.parse().unwrap()).unwrap();
            status.leases
        };
        let came = eventually("the last is asked", || async {
            (leases("c") == 1).then_some(())
        });
        tokio::select! {
            answer = fixture.ask("a", path) => panic!("{answer:?}"),
            () = came => {}
        }
        for name in ["a", "b", "c"] {
            fixture.rests(name).await;
        }
        eventually("the calls are counted", || async {
            let given_up = |from, to| fixture.count(from, to, "given-up") == 1;
            (given_up("a", "b") && given_up("b", "c")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn call_after_the_answer_is_out_goes_nowhere() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    let answer = fixture.ask("a", "/late-300?http://hms-svc-b/status").await;
    assert_eq!(answer.status, 202);
    eventually("it tried, and was refused", || async {
        (fixture.failures("a").get("request-over") == Some(&1)).then_some(())
    })
    .await;
    assert_eq!(fixture.count("a", "b", "ok"), 0);
}

#[tokio::test]
async fn requests_that_one_instance_has_at_once_call_each_for_its_own_user() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b"]));
    fixture.limit("a", json!({"reuse": 1000})).await;
    let mut together = 0;
    for round in 0.. {
        // On a busy machine those of the first few rounds may come one after the other.
        if round >= 3 && (together > 1 || round == 30) {
            break;
        }
        let asked = (0..12u64).map(|number| {
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            let fixture = &fixture;
            async move {
                tokio::time::sleep(Duration::from_millis(10 * number)).await;
                let path = "/hold-300?http://hms-svc-b/headers";
                (user, fixture.ask_as(user, "a", path, body::empty()).await)
            }
        });
        for (user, answer) in join_all(asked).await {
            let seen = answer.json();
            assert_eq!(seen["x-hms-user"], json!([user]));
            assert_eq!(seen["x-request-id"], json!([format!("of-{user}")]));
            let at_work = seen["x-at-work"][0].as_str().unwrap().parse().unwrap();
            together = together.max(at_work);
        }
    }
    assert!(together > 1, "no instance had two at once");
}

#[tokio::test]
async fn requests_that_one_instance_has_in_turn_call_each_for_its_own_user() {
    for caller in CALLERS {
        let fixture = Fixture::new(&[("a", caller), ("b", "prober")], 32).await;
        fixture.grant("a", calls(&["b"]));
        fixture.limit("a", json!({"reuse": 1000})).await;
        for number in 0..20 {
            let user = if number % 2 == 0 { "alice" } else { "bob" };
            let path = "/get?http://hms-svc-b/headers";
            let answer = fixture.ask_as(user, "a", path, body::empty()).await;
            assert_eq!(answer.json()["x-hms-user"], json!([user]), "{caller}");
        }
        assert!(
            fixture.failures("a").is_empty(),
            "{:?}",
            fixture.failures("a")
        );
    }
}

/// More chains at once than the pool has instances, each of three.
#[tokio::test]
async fn chains_of_calls_complete_where_the_pool_is_exhausted() {
    let windows = [("a", "caller"), ("b", "caller"), ("c", "prober")];
    let fixture = Fixture::new(&windows, 12).await;
    fixture.grant("a", calls(&["b", "c"]));
    fixture.grant("b", calls(&["a", "c"]));
    for name in ["a", "b", "c"] {
        let limits = json!({"instances": 12, "queue_wait_ms": 60_000, "reserved_instances": 0});
        fixture.limit(name, limits).await;
    }
    let asked = (0..96).map(|number| {
        let fixture = &fixture;
        let (first, second) = if number % 2 == 0 {
            ("a", "b")
        } else {
            ("b", "a")
        };
        let path = format!("/get?http://hms-svc-{second}/get?http://hms-svc-c/sleep?ms=20");
        async move { fixture.ask(first, &path).await }
    });
    for answer in join_all(asked).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn callee_that_fails_is_answered_for_by_the_host_and_counts_against_itself() {
    let fixture = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    fixture.grant("a", calls(&["b", "c"]));
    fixture.limit("b", json!({"failures_in_a_row": 2})).await;
    for problem in ["instance-trapped", "instance-trapped", "window-tripped"] {
        let answer = fixture.ask("a", "/get?http://hms-svc-b/trap").await;
        assert!(answer.text().contains(problem), "{}", answer.text());
    }
    let answer = fixture.ask("a", "/get?http://hms-svc-c/").await;
    assert!(
        answer.text().contains("window-not-deployed"),
        "{}",
        answer.text()
    );
    let (caller, _) = fixture.registry.status(&"a".parse().unwrap()).unwrap();
    assert_eq!((caller.tripped, caller.failures.len()), (None, 0));
    assert_eq!(fixture.count("a", "b", "failed"), 3);
    let cut = Fixture::new(&[("a", "caller"), ("b", "prober")], 32).await;
    cut.grant("a", calls(&["b"]));
    let answer = cut
        .ask("a", "/get?http://hms-svc-b/trap-mid?length=false")
        .await;
    assert!(answer.broken, "{answer:?}");
}
