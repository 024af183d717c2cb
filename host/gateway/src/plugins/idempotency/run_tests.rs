//! What requests at work and their answers are charged, and until when.

use super::super::{DEFAULT_TTL, MAX_RUNNING, Rule};
use super::*;
use crate::limits::Limits;
use crate::metrics::ShareHits;
use crate::plugins::holder::Holder;
use crate::plugins::idempotency::key::{Owner, fingerprint};
use bytes::Bytes;
use tokio::sync::mpsc;

fn idempotency() -> Arc<Idempotency> {
    let limits = Limits {
        max_idempotency_held_bytes: 100_000,
        ..Limits::default()
    };
    Arc::new(Idempotency::new(None, &limits, &ShareHits::default()))
}

fn idempotent(scope: u32, holder: Holder) -> IdempotentRequest {
    IdempotentRequest {
        rule: Rule {
            ttl: DEFAULT_TTL,
            required: false,
            max_body: 8_000,
            scope: None,
        },
        scope: scope.to_string(),
        owner: Owner::of(&holder),
        fields: Vec::new(),
    }
}

fn user(name: &str) -> Holder {
    Holder::User(name.into())
}

#[tokio::test]
async fn large_answer_is_charged_until_sent_and_keeps_its_permit_until_read() {
    let all = idempotency();
    let idempotent = idempotent(0, user("mallory"));
    let held = || all.answers.hold(idempotent.owner).grow(10_000);
    let mut place = all.places.hold(idempotent.owner);
    place.grow(1).unwrap();
    let place = Arc::new(place);
    let (send, mut receive) = mpsc::channel(9);
    for _ in 0..3 {
        send.send(Bytes::from(vec![b'x'; 4_000])).await.unwrap();
    }
    let frames = stream::poll_fn(move |cx| receive.poll_recv(cx));
    let body = StreamBody::new(frames.map(|data| Ok(Frame::data(data)))).boxed_unsync();
    let taken = all.take(Response::new(body), &idempotent, &place).await;
    let Taken::Larger(response) = taken else {
        panic!("it is larger than 8,000 bytes");
    };
    let mut body = response.into_body();
    // A fifth of all is hers, and all 12,000 bytes wait.
    assert!(held().is_err());
    let first = body.frame().await.unwrap().unwrap();
    assert!(
        held().is_err(),
        "it is at the client only when it is dropped"
    );
    drop(first);
    assert!(held().is_ok());

    let has_place = || Arc::strong_count(&place) > 1;
    drop(body);
    tokio::task::yield_now().await;
    assert!(has_place(), "it is read on without its client");
    drop(send);
    all.tasks.close();
    all.tasks.wait().await;
    assert!(!has_place());
}

#[test]
fn running_requests_leave_permits_to_others_and_half_to_identified_callers() {
    let all = idempotency();
    let digest = fingerprint("POST", ("/", None), b"", b"");
    let mut number = 0;
    let mut claim = |holder: Holder| {
        number += 1;
        all.claim(&idempotent(number, holder), digest)
    };
    let mut mallorys = Vec::new();
    let refused = loop {
        match claim(user("mallory")) {
            Ok(claim) => mallorys.push(claim),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, IdempotencyError::Share { .. }));
    assert_eq!(mallorys.len() as u64, MAX_RUNNING / 5);
    let bobs = claim(user("bob")).ok();
    assert!(bobs.is_some());
    // A place that is given back is hers again.
    mallorys.pop();
    assert!(claim(user("mallory")).is_ok());
    mallorys.clear();

    let mut of_addresses = Vec::new();
    for address in 0..200_u32 {
        let holder = Holder::Address(std::net::Ipv4Addr::from(address).into());
        while let Ok(claim) = claim(holder.clone()) {
            of_addresses.push(claim);
        }
    }
    let taken = of_addresses.len() as u64;
    assert!(
        (MAX_RUNNING / 2 - 8..=MAX_RUNNING / 2).contains(&taken),
        "{taken}"
    );
    assert!(claim(user("carol")).is_ok());
}
