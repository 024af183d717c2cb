//! Keys that rotate, providers that fail.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A provider that answers each connection with what `answer` makes of the path, and counts them.
pub(super) async fn provider(
    answer: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fetches = Arc::new(AtomicUsize::new(0));
    let count = fetches.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (url, fetches)
}

/// An answer that the test changes.
type Answer = Arc<parking_lot::Mutex<(u16, String)>>;

async fn provider_of(answer: Answer) -> (String, Arc<AtomicUsize>) {
    provider(move |_| answer.lock().clone()).await
}

pub(super) fn set_of(kid: &str) -> (u16, String) {
    (
        200,
        json!({"keys": [jwk(Algorithm::EdDSA, kid)]}).to_string(),
    )
}

pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Of a set that nothing makes old.
const YOUNG: Ages = Ages {
    refresh: LONG,
    fresh: LONG,
    dead: LONG,
    pause: Duration::ZERO,
    tried: Duration::ZERO,
};

/// Of a set that is old at once, so that each request wants a fetch.
const OLD: Ages = Ages {
    fresh: Duration::ZERO,
    ..YOUNG
};

fn jwks_at(url: &str, ages: Ages) -> Arc<Jwks> {
    let clients = crate::plugins::auth::source::KeyClients::new(&[]);
    let source = JwksSource::parse(url).unwrap();
    Jwks::new("default", source, Vec::new(), clients, ages)
}

/// As for a token that is signed with the key of this id, if there is one.
async fn find(jwks: &Arc<Jwks>, id: &str) -> Result<Result<u64, Miss>, AuthError> {
    let algorithm = Algorithm::EdDSA.into();
    jwks.prove(Some(id), algorithm, |_| true).await
}

#[tokio::test]
async fn concurrent_requests_share_one_fetch() {
    for ages in [YOUNG, OLD] {
        let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
        let (url, fetches) = provider_of(answer).await;
        let jwks = jwks_at(
            &url,
            Ages {
                pause: LONG,
                ..ages
            },
        );
        let finds = (0..50).map(|_| find(&jwks, "1"));
        for found in futures_util::future::join_all(finds).await {
            assert!(found.unwrap().is_ok());
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        for _ in 0..20 {
            assert!(find(&jwks, "invented").await.unwrap().is_err());
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1, "the pause runs");
    }
}

#[tokio::test]
async fn rotated_key_is_found_at_once() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("old")));
    let (url, fetches) = provider_of(answer.clone()).await;
    let jwks = jwks_at(&url, YOUNG);
    assert!(find(&jwks, "old").await.unwrap().is_ok());
    *answer.lock() = set_of("new");
    assert!(find(&jwks, "new").await.unwrap().is_ok());
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
    // Another key under the same name is a rotation too.
    let other =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "new", "x": b64(&[7; 32])}]});
    *answer.lock() = (200, other.to_string());
    let is_other = |key: &Key| key.decoding.try_get_as_bytes().unwrap() == [7; 32];
    let found = jwks.prove(Some("new"), Algorithm::EdDSA.into(), is_other);
    assert_eq!(found.await.unwrap(), Ok(3));
}

/// The first request after a quiet time once believed what the host had fetched before it.
#[tokio::test]
async fn withdrawn_key_is_rejected_for_the_first_request_after_a_quiet_time() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, _) = provider_of(answer.clone()).await;
    let fresh = Duration::from_millis(50);
    let jwks = jwks_at(&url, Ages { fresh, ..YOUNG });
    let asked = std::time::Instant::now();
    assert!(find(&jwks, "1").await.unwrap().is_ok());
    let known = jwks.generation();
    assert!(known == Some(1) || asked.elapsed() >= fresh, "{known:?}");
    *answer.lock() = set_of("2");
    let deadline = asked + Duration::from_secs(20);
    while jwks.generation().is_some() {
        assert!(
            std::time::Instant::now() < deadline,
            "a token that is remembered is never verified again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(asked.elapsed() >= fresh);
    assert_eq!(find(&jwks, "1").await.unwrap(), Err(Miss::UnknownId));
    assert!(find(&jwks, "2").await.unwrap().is_ok());
}

#[tokio::test]
async fn empty_and_useless_key_sets_withdraw_every_key() {
    for none in [json!([]), json!([{"kty": "NEW", "kid": "1"}])] {
        let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
        let (url, _) = provider_of(answer.clone()).await;
        let jwks = jwks_at(&url, OLD);
        assert!(find(&jwks, "1").await.unwrap().is_ok());
        *answer.lock() = (200, json!({ "keys": none }).to_string());
        assert_eq!(
            find(&jwks, "1").await.unwrap(),
            Err(Miss::UnknownId),
            "{none}"
        );
        assert_eq!(jwks.state().keys, 0);
        // What is no set at all withdraws nothing.
        *answer.lock() = set_of("1");
        assert!(find(&jwks, "1").await.unwrap().is_ok());
        *answer.lock() = (200, "{}".into());
        assert!(find(&jwks, "1").await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn keys_are_fetched_from_the_start_even_without_requests() {
    let answer = Arc::new(parking_lot::Mutex::new((500, "no".to_string())));
    let (url, fetches) = provider_of(answer.clone()).await;
    let soon = Duration::from_millis(10);
    let ages = Ages {
        refresh: soon,
        pause: soon,
        ..YOUNG
    };
    let jwks = jwks_at(&url, ages);
    let keeping = tokio::spawn(jwks.clone().keep());
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("it asks again", &|| jwks.state().failed >= 2).await;
    assert_eq!((jwks.state().keys, jwks.generation()), (0, None));
    *answer.lock() = set_of("1");
    until("it has the keys", &|| jwks.generation() == Some(1)).await;
    let before = fetches.load(Ordering::SeqCst);
    until("it goes on", &|| {
        fetches.load(Ordering::SeqCst) > before + 1
    })
    .await;
    *answer.lock() = set_of("2");
    until("it sees a rotation", &|| jwks.generation() == Some(2)).await;
    keeping.abort();
}

#[tokio::test]
async fn unreachable_provider_is_not_waited_for_repeatedly() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, fetches) = provider_of(answer.clone()).await;
    let jwks = jwks_at(&url, Ages { tried: LONG, ..OLD });
    assert!(find(&jwks, "1").await.unwrap().is_ok());
    *answer.lock() = (500, "<html>".into());
    for _ in 0..20 {
        assert!(find(&jwks, "1").await.unwrap().is_ok());
        assert!(find(&jwks, "invented").await.unwrap().is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 2, "one has failed lately");
    }
    assert_eq!(jwks.generation(), Some(1));
    let never = jwks_at("http://127.0.0.1:1", Ages { tried: LONG, ..OLD });
    for _ in 0..2 {
        assert!(matches!(
            find(&never, "1").await,
            Err(AuthError::KeysUnavailable)
        ));
        assert_eq!(never.state().failed, 1);
    }
}

/// A disk that hangs, played by a pipe that nobody writes.
#[tokio::test]
async fn key_file_that_hangs_blocks_one_thread_only() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("keys");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let source = JwksSource::File(pipe.clone());
    let clients = crate::plugins::auth::source::KeyClients::new(&[]);
    let reading = Arc::default();
    {
        let first = source.fetch(&clients, &reading);
        let mut first = std::pin::pin!(first);
        assert!(futures_util::poll!(first.as_mut()).is_pending());
    }
    for _ in 0..3 {
        let reason = source.fetch(&clients, &reading).await.unwrap_err();
        assert_eq!(reason, "the last try to read it has not ended");
    }
    // Its reader gets what comes, and the file is read again.
    let writing = tokio::task::spawn_blocking(move || fs::write(pipe, "{}"));
    writing.await.unwrap().unwrap();
    drop(reading.lock().await);
}

#[tokio::test]
async fn reload_fetches_keys_at_once_whatever_the_pause() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("old")));
    let (url, fetches) = provider_of(answer.clone()).await;
    let jwks = jwks_at(
        &url,
        Ages {
            pause: LONG,
            ..YOUNG
        },
    );
    let find = |id: &'static str| find(&jwks, id);
    assert!(find("old").await.unwrap().is_ok());
    *answer.lock() = set_of("new");
    assert!(find("new").await.unwrap().is_err(), "the pause runs");
    assert_eq!(jwks.read_again().await, Ok(()));
    assert!(find("new").await.unwrap().is_ok());
    *answer.lock() = (500, "<html>".into());
    let why = jwks.read_again().await.unwrap_err();
    assert!(why.contains(&url) && why.contains("500"), "{why}");
    assert!(
        find("new").await.unwrap().is_ok(),
        "the last good set stays"
    );
    assert_eq!(fetches.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn last_good_keys_outlive_a_broken_provider_for_a_limited_time() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, _) = provider_of(answer.clone()).await;
    let patient = jwks_at(&url, OLD);
    let dead = Duration::ZERO;
    let strict = jwks_at(&url, Ages { dead, ..OLD });
    assert!(find(&patient, "1").await.unwrap().is_ok());
    *answer.lock() = (500, "<html>".into());
    for _ in 0..3 {
        assert!(find(&patient, "1").await.unwrap().is_ok());
    }
    let failed = find(&strict, "1").await;
    assert!(matches!(failed, Err(AuthError::KeysUnavailable)));
}

#[tokio::test]
async fn client_leaving_does_not_cancel_the_fetch_it_began() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, fetches) = provider_of(answer).await;
    let jwks = jwks_at(
        &url,
        Ages {
            pause: LONG,
            ..YOUNG
        },
    );
    {
        let mut find = std::pin::pin!(find(&jwks, "1"));
        assert!(futures_util::poll!(find.as_mut()).is_pending());
    }
    let found = find(&jwks, "1").await;
    assert!(found.unwrap().is_ok(), "the pause would run for an hour");
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

/// The cache would know the token for an hour.
#[tokio::test]
async fn token_of_a_rotated_out_key_is_rejected_once_the_rotation_is_seen() {
    let (_dir, path) = jwks_file(json!([jwk(Algorithm::EdDSA, "old")]));
    let issuer = IssuerConfig::only(JwksSource::File(path.clone()));
    let verifier = Verifier::new(AuthConfig::new(KeySource::Issuers(vec![issuer])));
    let hour = json!({"exp": get_current_timestamp() + 3600});
    let token = sign(Algorithm::EdDSA, Some("old"), &claims(hour));
    for _ in 0..2 {
        assert!(verifier.verify(&token, &[]).await.is_ok());
    }
    fs::write(
        &path,
        json!({"keys": [jwk(Algorithm::ES256, "new")]}).to_string(),
    )
    .unwrap();
    // A file is looked at every second, while requests with known tokens come.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let refused = loop {
        match verifier.verify(&token, &[]).await {
            Ok(_) => assert!(std::time::Instant::now() < deadline, "it is never seen"),
            refused => break reason(refused),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused, "the token's signing key is unknown");
    let new = sign(Algorithm::ES256, Some("new"), &claims(json!({})));
    assert!(verifier.verify(&new, &[]).await.is_ok());
}

#[tokio::test]
async fn changed_key_file_is_read_however_young_its_keys() {
    let (_dir, path) = jwks_file(json!([jwk(Algorithm::EdDSA, "old")]));
    let jwks = jwks_at(path.to_str().unwrap(), YOUNG);
    let keeping = tokio::spawn(jwks.clone().keep());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while jwks.generation().is_none() {
        assert!(std::time::Instant::now() < deadline, "it is never read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::write(&path, set_of("new").1).unwrap();
    while jwks.generation() == Some(1) {
        assert!(std::time::Instant::now() < deadline, "it is never seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(find(&jwks, "new").await.unwrap().is_ok());
    keeping.abort();
}

#[tokio::test]
async fn refetching_the_same_keys_keeps_their_generation() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, fetches) = provider_of(answer.clone()).await;
    let jwks = jwks_at(&url, YOUNG);
    assert_eq!(jwks.generation(), None);
    for (kid, generation) in [("1", 1), ("1", 1), ("2", 2), ("1", 3)] {
        *answer.lock() = set_of(kid);
        let before = fetches.load(Ordering::SeqCst);
        // An unknown key has the set fetched anew.
        let found = find(&jwks, "unknown").await;
        assert!(found.unwrap().is_err());
        assert!(fetches.load(Ordering::SeqCst) > before);
        assert_eq!(jwks.generation(), Some(generation), "{kid}");
    }
}

#[tokio::test]
async fn known_token_is_rejected_when_its_keys_are_too_old() {
    let answer = Arc::new(parking_lot::Mutex::new(set_of("1")));
    let (url, _) = provider_of(answer).await;
    let (dead, pause) = (Duration::ZERO, LONG);
    let jwks = jwks_at(
        &url,
        Ages {
            dead,
            pause,
            ..YOUNG
        },
    );
    assert!(find(&jwks, "1").await.is_err());
    assert_eq!(jwks.generation(), None);
}

#[tokio::test]
async fn known_token_is_rejected_after_its_expiry() {
    let (_dir, secret, verifier) = dev();
    let exp = get_current_timestamp() + 2;
    let token = forge(
        secret.as_bytes(),
        &json!({"alg": "HS256"}),
        &claims(json!({ "exp": exp })),
    );
    assert!(verifier.verify(&token, &[]).await.is_ok());
    assert!(verifier.remembers(&token));
    while get_current_timestamp() < exp {
        let found = verifier.verify(&token, &[]).await;
        // It may have expired since it was asked.
        assert!(found.is_ok() || get_current_timestamp() >= exp, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        reason(verifier.verify(&token, &[]).await),
        "the token has expired"
    );
    assert!(!verifier.remembers(&token));
    let forged = forge(b"x", &json!({"alg": "HS256"}), &claims(json!({})));
    assert!(verifier.verify(&forged, &[]).await.is_err());
    assert!(!verifier.remembers(&forged), "what is refused is forgotten");
}
