//! Who may hold how much, and what a caller is told who wants more.

use super::*;

#[tokio::test]
async fn full_file_rejects_new_keys_and_keeps_the_old() {
    let fixture =
        Fixture::with_limits(|_| {}, |limits| limits.max_idempotency_bytes = 20_000).await;
    let ask = async |user: usize| {
        let bearer = fixture.bearer(&format!("user-{user}"));
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        fixture
            .send(Method::POST, "/large/big", &headers, "42")
            .await
    };
    let mut users = 0;
    let refused = loop {
        let said = ask(users).await;
        if said.status != 201 {
            break said;
        }
        users += 1;
        assert!(users < 20, "twenty answers are three times as much");
    };
    // Whoever holds nothing has used nothing up.
    assert!(refused.is_problem(503, "idempotency-full"), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    assert!(ask(0).await.replayed());
    assert_eq!(fixture.till.payments(), users);
}

#[tokio::test]
async fn caller_over_its_quota_is_refused_and_another_is_served() {
    let fixture =
        Fixture::with_limits(|_| {}, |limits| limits.max_idempotency_bytes = 100_000).await;
    let bearer = fixture.bearer("mallory");
    let ask = async |key: &str| {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        fixture
            .send(Method::POST, "/large/big", &headers, "42")
            .await
    };
    let mut kept = 0;
    let refused = loop {
        let said = ask(&format!("k{kept}")).await;
        if said.status != 201 {
            break said;
        }
        kept += 1;
        assert!(kept < 30, "a fifth of it is about five answers");
    };
    assert!(refused.is_problem(429, "idempotency-full"), "{refused:?}");
    assert!(refused.body.contains("this caller's quota"));
    assert_eq!(refused.header("retry-after"), "60");
    // Nothing of hers is lost, so nothing is done twice.
    let before = fixture.till.payments();
    for key in 0..kept {
        assert!(ask(&format!("k{key}")).await.replayed());
    }
    assert_eq!(fixture.till.payments(), before);
    let bearer = fixture.bearer("bob");
    let headers = [
        ("authorization", bearer.as_str()),
        ("idempotency-key", "k0"),
    ];
    let bobs = fixture
        .send(Method::POST, "/strict/pay", &headers, "42")
        .await;
    assert_eq!(bobs.status, 201, "{bobs:?}");
    let hits = fixture.metrics();
    let hit = "gateway_share_hits_total{of=\"idempotency-keys\",whose=\"caller\"} 1";
    assert!(hits.contains(hit), "{hits}");
}

#[tokio::test]
async fn stalled_body_is_408_and_its_memory_is_freed() {
    let change = |limits: &mut Limits| {
        limits.idempotency_body_time = Duration::from_millis(300);
    };
    let fixture = Fixture::with_limits(|_| {}, change).await;
    let mut stalled = fixture.begin_upload("/open/pay", None, 2000, 1000).await;
    let mut said = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stalled.read(&mut said)).await;
    let read = read.expect("it is answered").unwrap();
    let said = String::from_utf8_lossy(&said[..read]);
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("body-too-slow"), "{said}");
    assert_eq!(fixture.till.payments(), 0);
    // It is nothing that has happened, so the key is free.
    assert_eq!(fixture.pay("/open/pay", "k", "42").await.status, 201);
}

#[tokio::test]
async fn uploads_of_one_caller_leave_memory_to_another() {
    let change = |limits: &mut Limits| limits.max_idempotency_held_bytes = 100_000;
    let fixture = Fixture::with_limits(|_| {}, change).await;
    let mallory = fixture.bearer("mallory");
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let upload = fixture.begin_upload("/large/pay", Some(&mallory), 90_000, 10_000);
        stalled.push(upload.await);
    }
    // Two of them fit into her share; the others are refused while they send.
    let mut refused = 0;
    for upload in &mut stalled {
        let mut said = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_millis(500), upload.read(&mut said)).await;
        if let Ok(Ok(read)) = read {
            let said = String::from_utf8_lossy(&said[..read]);
            assert!(said.starts_with("HTTP/1.1 429"), "{said}");
            refused += 1;
        }
        if refused > 40 {
            break;
        }
    }
    assert!(refused > 40, "{refused}");
    let bob = fixture.bearer("bob");
    let headers = [("authorization", bob.as_str()), ("idempotency-key", "k")];
    let large = "x".repeat(10_000);
    let bobs = fixture
        .send(Method::POST, "/large/pay", &headers, &large)
        .await;
    assert_eq!(bobs.status, 201, "{bobs:?}");
}

#[test]
fn operators_page_lists_the_shares_of_keys_and_memory() {
    let page = include_str!("../../../../../../docs/limits.md");
    let limits = Limits::default();
    let (gib, mib) = (
        limits.max_idempotency_bytes >> 30,
        limits.max_idempotency_held_bytes >> 20,
    );
    let minutes = limits.idempotency_body_time.as_secs() / 60;
    assert_eq!(
        (
            super::super::budget::SHARE_OF_FREE,
            super::super::budget::ADDRESSES_SHARE,
            super::super::MAX_RUNNING
        ),
        (4, 2, 4096)
    );
    for row in [
        format!("| idempotency keys and their answers on disk | {gib} GiB |"),
        "| of these, what one caller holds, or one address | a quarter of what is free: a lone caller a fifth of all, a lone address a tenth |".into(),
        "| of each of these, what one caller holds, or one address | a quarter of what is free |".into(),
        "| of each of these, what all client addresses hold together | half |".into(),
        format!("in memory | 4,096; {mib} MiB each |"),
        format!("| time for the whole body of a request with an idempotency key | {minutes} min |"),
    ] {
        assert!(page.contains(&row), "{row}");
    }
}
