//! API keys: made once, kept hashed, good until they are revoked or expire.

use super::*;
use crate::plugins::auth::api_keys::MAX_KEYS;
use std::os::unix::fs::PermissionsExt;

fn scopes(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|scope| scope.to_string()).collect()
}

#[test]
fn key_identifies_its_caller_until_revoked_even_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let keys = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    let (key, text) = keys.add("robot", &scopes(&["a.read", "b"]), None).unwrap();
    let caller = Caller {
        user: "robot".into(),
        scopes: scopes(&["a.read", "b"]),
    };
    assert_eq!(keys.caller(&text).unwrap(), caller);

    let again = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    assert_eq!(again.caller(&text).unwrap(), caller);
    assert_eq!(again.list().len(), 1);
    again.revoke(&key.id).unwrap();
    let revoked = reason(again.caller(&text));
    assert_eq!(revoked, "the API key is unknown or was revoked");
    assert!(matches!(again.revoke(&key.id), Err(KeyError::Unknown(_))));
    assert!(
        ApiKeys::open(dir.path(), Arc::default())
            .unwrap()
            .list()
            .is_empty()
    );
}

#[test]
fn only_the_whole_key_is_accepted_and_the_disk_holds_only_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let keys = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    let (key, text) = keys.add("robot", &[], None).unwrap();
    let (_, other) = keys.add("robot", &[], None).unwrap();
    let secret = text.rsplit_once(&format!("{}_", key.id)).unwrap().1;
    let other_secret = &other[other.len() - secret.len()..];
    for wrong in [
        format!("hms_{}_", key.id),
        format!("hms_{}_{other_secret}", key.id),
        format!("{text}A"),
        text[..text.len() - 1].to_string(),
        format!("hms__{secret}"),
        "hms_".into(),
    ] {
        assert!(keys.caller(&wrong).is_err(), "{wrong}");
    }
    let file = dir.path().join("keys.json");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains(&key.id) && !kept.contains(secret));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = serde_json::to_string(&keys.list()).unwrap();
    assert!(!shown.contains("sha256"), "{shown}");
}

#[test]
fn expired_key_is_rejected() {
    let keys = ApiKeys::in_memory();
    let (key, text) = keys.add("robot", &[], Some(Duration::ZERO)).unwrap();
    assert_eq!(key.expires, Some(key.created));
    assert_eq!(reason(keys.caller(&text)), "the API key has expired");
    let day = Duration::from_secs(24 * 3600);
    let (_, text) = keys.add("robot", &[], Some(day)).unwrap();
    assert!(keys.caller(&text).is_ok());
}

#[test]
fn invalid_user_or_scope_and_a_full_key_file_get_no_key() {
    let keys = ApiKeys::in_memory();
    for (user, scope) in [("", "a"), ("a\nb", "a"), ("robot", "a b"), ("robot", "")] {
        let refused = keys.add(user, &scopes(&[scope]), None);
        assert!(
            matches!(refused, Err(KeyError::Bad(_))),
            "{user:?} {scope:?}"
        );
    }
    // As many on disk as there may be.
    let dir = tempfile::tempdir().unwrap();
    let few = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    few.add("robot", &[], None).unwrap();
    let file = dir.path().join("keys.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let one = content["keys"][0].clone();
    let copies = (0..MAX_KEYS).map(|n| {
        let mut copy = one.clone();
        copy["id"] = json!(format!("{n:012x}"));
        copy
    });
    content["keys"] = copies.collect();
    fs::write(&file, content.to_string()).unwrap();
    let full = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    assert!(matches!(full.add("robot", &[], None), Err(KeyError::Full)));
    full.revoke("000000000000").unwrap();
    assert!(full.add("robot", &[], None).is_ok());
}

#[test]
fn unreadable_key_file_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("keys.json"), "{\"keys\": [").unwrap();
    let sentence = ApiKeys::open(dir.path(), Arc::default())
        .unwrap_err()
        .to_string();
    assert!(sentence.contains("keys.json"), "{sentence}");
}

#[tokio::test]
async fn route_decides_whether_it_accepts_tokens_or_keys() {
    let (_dir, secret, _) = dev();
    let config = AuthConfig::new(KeySource::DevSecret(secret.clone()));
    let (_, key) = config.api_keys.add("robot", &[], None).unwrap();
    let verifier = Verifier::new(config);
    let token = issue_token(&secret, "alice", &[], Duration::from_secs(60)).unwrap();
    let ask = async |name: &'static str, value: String, accept| {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        let rule = Rule {
            accept,
            ..Rule::default()
        };
        verifier.caller(&headers, &rule).await
    };
    let bearer = |text: &str| format!("Bearer {text}");
    for accept in [None, Some(Accept::Key)] {
        for (name, value) in [("authorization", bearer(&key)), ("x-api-key", key.clone())] {
            assert_eq!(ask(name, value, accept).await.unwrap().user, "robot");
        }
    }
    for accept in [None, Some(Accept::Token)] {
        let caller = ask("authorization", bearer(&token), accept).await;
        assert_eq!(caller.unwrap().user, "alice");
    }
    assert_eq!(
        reason(ask("x-api-key", key, Some(Accept::Token)).await),
        "this route accepts tokens only"
    );
    assert_eq!(
        reason(ask("authorization", bearer(&token), Some(Accept::Key)).await),
        "this route accepts API keys only"
    );
}

#[test]
fn auth_settings_name_the_accepted_credentials_and_issuers() {
    let rule = |settings: &str| {
        let text = format!("uri: /a\nupstream: http://hms-svc-a\nplugins: [auth: {settings}]");
        let route = crate::routes::manifest::Route::parse("a", &text);
        route.map(|route| route.rules.auth.unwrap())
    };
    for (settings, accept) in [
        ("{}", None),
        ("{accept: [token, key]}", None),
        ("{accept: [key]}", Some(Accept::Key)),
        ("{accept: [token]}", Some(Accept::Token)),
        ("{accept: [token, token]}", Some(Accept::Token)),
    ] {
        assert_eq!(rule(settings).unwrap().accept, accept, "{settings}");
    }
    assert_eq!(
        rule("{issuers: [staff, b]}").unwrap().issuers,
        ["staff", "b"]
    );
    for (settings, expected) in [
        ("{accept: [keys]}", "did you mean 'key'?"),
        ("{accept: []}", "the list is empty"),
        ("{accept: key}", "accept"),
        ("{issuers: [Staff]}", "'Staff' is not a valid issuer name"),
    ] {
        let faults = rule(settings).unwrap_err();
        assert!(
            faults[0].reason.contains(expected),
            "{settings}: {faults:?}"
        );
    }
}

/// In the place of the file that is written first: nothing can be written there.
fn obstruct(dir: &std::path::Path) -> std::path::PathBuf {
    let path = dir.join(".keys.json.new");
    fs::create_dir(&path).unwrap();
    path
}

async fn settled(keys: &ApiKeys) {
    for _ in 0..500 {
        if keys.unsaved().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never on disk: {:?}", keys.unsaved());
}

#[tokio::test]
async fn revocation_holds_at_once_and_reaches_a_failing_disk_later() {
    let dir = tempfile::tempdir().unwrap();
    let keys = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    let (key, text) = keys.add("robot", &[], None).unwrap();
    let (kept, kept_text) = keys.add("other", &[], None).unwrap();
    let obstacle = obstruct(dir.path());
    let unsaved = keys.revoke(&key.id).unwrap().unwrap();
    assert!(unsaved.revoked.contains(&key.id) && !unsaved.why.is_empty());
    assert!(keys.caller(&text).is_err(), "a revoked key is good");
    assert!(keys.caller(&kept_text).is_ok());
    // Once more says the same, and does not say that there never was such a key.
    assert!(keys.revoke(&key.id).unwrap().is_some());
    assert!(matches!(keys.revoke("nobody"), Err(KeyError::Unknown(_))));
    // As it said: a restart before it is on disk brings the key back.
    let restarted = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    assert!(restarted.caller(&text).is_ok());

    fs::remove_dir(obstacle).unwrap();
    settled(&keys).await;
    let restarted = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    assert!(restarted.caller(&text).is_err() && restarted.caller(&kept_text).is_ok());
    assert!(matches!(keys.revoke(&key.id), Err(KeyError::Unknown(_))));
    assert!(keys.revoke(&kept.id).unwrap().is_none());
}

#[tokio::test]
async fn key_that_cannot_be_saved_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let keys = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    let obstacle = obstruct(dir.path());
    assert!(matches!(keys.add("robot", &[], None), Err(KeyError::Io(_))));
    assert!(keys.list().is_empty());
    // What is written next takes along what the disk did not take before.
    fs::remove_dir(obstacle).unwrap();
    keys.add("robot", &[], None).unwrap();
    assert!(keys.unsaved().is_none());
    settled(&keys).await;
    let restarted = ApiKeys::open(dir.path(), Arc::default()).unwrap();
    assert_eq!(restarted.list().len(), 1);
}
