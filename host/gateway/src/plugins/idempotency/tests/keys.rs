//! What a key that was used before does.

use super::*;

#[tokio::test]
async fn repeated_request_gets_the_first_answer_without_running_again() {
    let fixture = Fixture::open().await;
    let first = fixture.pay("/open/pay?x=1", "\"k-1\"", "42").await;
    assert_eq!(
        (first.status, first.body.as_str()),
        (201, "payment 1 of 42")
    );
    assert!(!first.replayed());
    // In quotes or not it is the same key.
    for key in ["\"k-1\"", "k-1"] {
        let again = fixture.pay("/open/pay?x=1", key, "42").await;
        assert_eq!(
            (again.status, again.body.as_str()),
            (201, "payment 1 of 42")
        );
        assert!(again.replayed() && again.header("location") == "/1");
        let cookies: Vec<_> = again.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert!(!again.headers.contains_key("x-hop"));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(fixture.till.payments(), 1);
    fixture.pay("/open/pay?x=1", "k-2", "42").await;
    assert_eq!(fixture.till.payments(), 2);
}

/// Where no `auth` says who asks, the upstream does by what the request shows.
#[tokio::test]
async fn shared_address_replays_no_answer_made_for_other_credentials() {
    let fixture = Fixture::open().await;
    let shows = [
        &[("authorization", "Basic YTpi")][..],
        &[("x-api-key", "theirs")],
        &[("authorization", "Basic YTpi"), ("x-api-key", "theirs")],
        &[("cookie", "sid=alice")],
        &[("cookie", "sid=bob")],
        &[],
    ];
    for (number, own) in shows.iter().enumerate() {
        let key = format!("key-{number}");
        for (other, shown) in [(own, true)]
            .into_iter()
            .chain(shows.iter().map(|it| (it, it == own)))
        {
            let mut headers = vec![("idempotency-key", key.as_str())];
            headers.extend(other.iter().copied());
            let said = fixture
                .send(Method::POST, "/open/pay", &headers, "42")
                .await;
            match shown {
                true => assert!(said.status < 300, "{own:?} {other:?}: {said:?}"),
                false => assert!(said.is_problem(422, "idempotency-key-reused"), "{said:?}"),
            }
        }
    }
    assert_eq!(fixture.till.payments(), shows.len());
}

#[tokio::test]
async fn key_reused_for_another_request_is_422() {
    let fixture = Fixture::open().await;
    fixture.pay("/open/pay", "k", "42").await;
    for (method, path, kind, body) in [
        (Method::POST, "/open/pay", "", "43"),
        (Method::POST, "/open/other", "", "42"),
        (Method::POST, "/open/pay?x", "", "42"),
        (Method::POST, "/open/pay", "text/plain", "42"),
        (Method::PATCH, "/open/pay", "", "42"),
    ] {
        let mut headers = vec![("idempotency-key", "k")];
        if !kind.is_empty() {
            headers.push(("content-type", kind));
        }
        let said = fixture.send(method, path, &headers, body).await;
        assert!(said.is_problem(422, "idempotency-key-reused"), "{said:?}");
    }
    assert_eq!(fixture.till.payments(), 1);
}

#[tokio::test]
async fn repeated_request_is_told_to_wait_while_the_first_runs() {
    let fixture = Fixture::open().await;
    let first = fixture.begin_slow("k").await;
    let second = fixture.pay("/open/slow", "k", "42").await;
    assert!(second.is_problem(409, "idempotency-running"), "{second:?}");
    assert_eq!(second.header("retry-after"), "1");
    let other = fixture.pay("/open/slow", "k", "43").await;
    assert!(other.is_problem(422, "idempotency-key-reused"), "{other:?}");
    fixture.till.go_on.add_permits(1);
    let done = fixture.pay_when_done("/open/slow", "k", "42").await;
    assert!(done.status == 201 && done.replayed(), "{done:?}");
    assert_eq!(fixture.till.payments(), 1);
    drop(first);
}

#[tokio::test]
async fn client_that_comes_back_finds_the_answer_it_left() {
    let fixture = Fixture::open().await;
    drop(fixture.begin_slow("k").await);
    fixture.till.go_on.add_permits(1);
    let done = fixture.pay_when_done("/open/slow", "k", "42").await;
    assert!(done.status == 201 && done.replayed(), "{done:?}");
    assert_eq!(
        (done.body.as_str(), fixture.till.payments()),
        ("payment 1 of 42", 1)
    );
}

#[tokio::test]
async fn shutdown_waits_for_a_request_whose_client_is_gone() {
    let fixture = Fixture::open().await;
    drop(fixture.begin_slow("k").await);
    fixture.shutdown.cancel();
    while TcpStream::connect(fixture.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!fixture.serving.is_finished());
    fixture.till.go_on.add_permits(1);
    let cut = tokio::time::timeout(PATIENCE, fixture.serving).await;
    assert_eq!(cut.expect("it ends").unwrap(), 0);
    let path = fixture.data.path().join("idempotency.redb");
    let scope = key::scope(OPEN_REALM, None, fixture.addr.ip(), "k").hex();
    // The gateway's own handle goes with its last task.
    let begun = Instant::now();
    let ledger = loop {
        match Ledger::open(path.clone(), 1 << 30) {
            Ok(ledger) => break ledger,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let found = ledger.get(&scope).await.unwrap().unwrap();
    assert!(matches!(found.record.state, State::Answered(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_with_one_key_run_once() {
    let fixture = Arc::new(Fixture::open().await);
    for round in 1..=30 {
        let key = format!("k-{round}");
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (fixture, key) = (fixture.clone(), key.clone());
                tokio::spawn(async move { fixture.pay_when_done("/open/pay", &key, "42").await })
            })
            .collect();
        let mut replayed = 0;
        for one in all {
            let said = one.await.unwrap();
            assert_eq!(
                (said.status, said.body),
                (201, format!("payment {round} of 42"))
            );
            replayed += usize::from(said.headers.contains_key("idempotency-replayed"));
        }
        assert_eq!((replayed, fixture.till.payments()), (3, round));
    }
}

#[tokio::test]
async fn every_user_has_separate_keys_and_other_methods_need_none() {
    let fixture = Fixture::open().await;
    for (count, user) in ["alice", "bob"].into_iter().enumerate() {
        let bearer = fixture.bearer(user);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        let said = fixture
            .send(Method::POST, "/strict/pay", &headers, "42")
            .await;
        assert_eq!(
            (said.status, said.body),
            (201, format!("payment {} of 42", count + 1))
        );
        let none = fixture
            .send(Method::POST, "/strict/pay", &headers[..1], "42")
            .await;
        assert!(none.is_problem(400, "idempotency-key-missing"), "{none:?}");
        let read = fixture
            .send(Method::GET, "/strict/pay?closed", &headers[..1], "")
            .await;
        assert_eq!(read.status, 201);
        fixture.till.payments.fetch_sub(1, SeqCst);
    }
    let broken = fixture.pay("/open/pay", "a b", "42").await;
    assert!(broken.is_problem(400, "bad-request"), "{broken:?}");
    // Not required, not there: nothing is kept.
    for _ in 0..2 {
        let said = fixture.send(Method::POST, "/open/pay", &[], "42").await;
        assert!(said.status == 201 && !said.replayed());
    }
    assert_eq!(fixture.till.payments(), 4);
}

#[tokio::test]
async fn expired_key_counts_as_never_used() {
    let fixture = Fixture::open().await;
    let begun = Instant::now();
    fixture.pay("/short/pay", "k", "42").await;
    loop {
        let said = fixture.pay("/short/pay", "k", "42").await;
        if !said.replayed() {
            assert_eq!(said.body, "payment 2 of 42");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn answer_too_large_to_keep_is_sent_once() {
    let fixture = Fixture::open().await;
    let first = fixture.pay("/open/big", "k", "42").await;
    assert_eq!((first.status, first.body.len()), (201, 3000));
    let again = fixture.pay("/open/big", "k", "42").await;
    assert!(
        again.is_problem(409, "idempotency-answer-not-kept"),
        "{again:?}"
    );
    assert_eq!(fixture.till.payments(), 1);
    let large = fixture.pay("/open/pay", "l", &"x".repeat(2049)).await;
    assert!(large.is_problem(413, "body-too-large"), "{large:?}");
    assert_eq!(fixture.till.payments(), 1);
}

#[tokio::test]
async fn failure_after_the_request_ran_is_kept() {
    let fixture = Fixture::open().await;
    for (count, (path, status, code)) in [
        ("/open/trap", 500, "instance-trapped"),
        ("/open/broken", 502, "upstream-unreachable"),
        ("/open/panic", 500, "internal"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = fixture.pay(path, path, "42").await;
        assert!(
            first.is_problem(status, code) && !first.replayed(),
            "{first:?}"
        );
        let again = fixture.pay(path, path, "42").await;
        assert!(
            again.is_problem(status, code) && again.replayed(),
            "{again:?}"
        );
        assert_eq!(
            (again.body, fixture.till.payments()),
            (first.body, count + 1)
        );
    }
}

#[tokio::test]
async fn key_is_freed_where_the_request_certainly_never_ran() {
    let fixture = Fixture::open().await;
    for path in ["/open/closed", "/visited/closed"] {
        fixture.till.open.forget_permits(1);
        let before = fixture.till.payments();
        let closed = fixture.pay(path, path, "42").await;
        assert!(closed.is_problem(503, "window-stopped"), "{closed:?}");
        // With another body too: nothing of it was done.
        fixture.till.open.add_permits(1);
        let open = fixture.pay(path, path, "43").await;
        assert!(open.status == 201 && !open.replayed(), "{open:?}");
        let again = fixture.pay(path, path, "43").await;
        assert!(again.status == 201 && again.replayed(), "{again:?}");
        assert_eq!(fixture.till.payments(), before + 1);
    }
}

#[tokio::test]
async fn key_is_freed_where_no_connection_was_made() {
    let fixture = Fixture::open().await;
    for body in ["42", "43"] {
        let said = fixture.pay("/gone", "k", body).await;
        assert!(
            said.is_problem(502, "upstream-unreachable") && !said.replayed(),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn key_belongs_to_the_resource_rather_than_to_its_route_file() {
    let fixture = Fixture::open().await;
    let first = fixture.pay("/open/pay", "k", "42").await;
    fixture.rename("open", "renamed").await;
    let again = fixture.pay("/open/pay", "k", "42").await;
    assert!(again.replayed() && again.body == first.body, "{again:?}");
    // Routes of one scope share their keys, so that one can be split.
    assert_eq!(fixture.pay("/split/off/pay", "k", "42").await.status, 201);
    std::fs::remove_file(fixture.data.path().join("routes/split-off.yaml")).unwrap();
    fixture
        .until_routes_are(|names| !names.contains(&"split-off.yaml".into()))
        .await;
    let again = fixture.pay("/split/off/pay", "k", "42").await;
    assert!(again.replayed(), "{again:?}");
    // Another host is another resource where the route names its hosts.
    for host in ["one.example", "two.example"] {
        let headers = [("idempotency-key", "k"), ("host", host)];
        let said = fixture.send(Method::POST, "/twin/x", &headers, "42").await;
        assert!(said.status == 201 && !said.replayed(), "{said:?}");
        let headers = [("idempotency-key", "k"), ("host", "ONE.example:80")];
        let said = fixture.send(Method::POST, "/twin/x", &headers, "42").await;
        assert!(said.replayed(), "{said:?}");
    }
}

#[tokio::test]
async fn request_begun_by_an_earlier_run_of_the_host_has_an_unknown_outcome() {
    let client = [127, 0, 0, 1].into();
    let scope = key::scope(OPEN_REALM, None, client, "k").hex();
    let name = Name {
        scope: &scope,
        owner: Owner::of(&Holder::of(None, client)),
    };
    let fingerprint = key::fingerprint("POST", ("/open/pay", None), b"", b"42");
    let fixture = {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("keys");
        let ledger = Ledger::open(file.clone(), 1 << 30).unwrap();
        let record = Record::new(fingerprint, ledger.now_ms() + 60_000, State::Begun);
        ledger.begin(name, &record, None).await.unwrap().unwrap();
        ledger.close();
        Fixture::with(|path| {
            std::fs::copy(file, path).unwrap();
        })
        .await
    };
    let said = fixture.pay("/open/pay", "k", "42").await;
    assert!(said.is_problem(409, "idempotency-unknown"), "{said:?}");
    let other = fixture.pay("/open/pay", "k", "43").await;
    assert!(other.is_problem(422, "idempotency-key-reused"), "{other:?}");
    assert_eq!(fixture.till.payments(), 0);
}

#[tokio::test]
async fn damaged_file_closes_only_the_routes_that_need_it() {
    let fixture = Fixture::with(|path| std::fs::write(path, "no file of keys").unwrap()).await;
    let said = fixture.pay("/open/pay", "k", "42").await;
    assert!(said.is_problem(503, "idempotency-unavailable"), "{said:?}");
    assert!(!said.header("retry-after").is_empty());
    assert_eq!(fixture.till.payments(), 0);
    assert_eq!(fixture.pay("/plain/pay", "k", "42").await.status, 201);
    let kept = std::fs::read_to_string(fixture.data.path().join("idempotency.redb"));
    assert_eq!(kept.unwrap(), "no file of keys");
}
