//! Callers of one route never get what was made for another.

use super::{FRESH, cached, host, said, service};
use hms_harness::http::raw;
use http::Method;

#[tokio::test]
async fn callers_share_only_answers_that_are_for_all_of_them() {
    let service = service().await;
    let host = host(&service, "  - auth\n  - cache\n", &[]).await;
    let bearers = ["alice", "bob"].map(|user| format!("Bearer {}", host.token(user, &[])));
    let ask = async |user: usize, fields: &str| {
        let path = format!("/s/me?fields={fields}");
        let headers = [("authorization", bearers[user].as_str())];
        let answer = host.call(Method::GET, &path, &headers, "").await;
        (
            said(&answer).to_owned(),
            answer.json()["asked"].as_u64().unwrap(),
        )
    };
    // Without a word that it is for all, no caller's answer is stored.
    for (user, number) in [(0, 1), (1, 2), (0, 3)] {
        let answer = ask(user, "cache-control:max-age=600").await;
        assert_eq!(answer, ("fwd=miss".into(), number));
    }
    for (fields, first) in [
        ("cache-control:public,max-age=600", 4),
        ("cache-control:s-maxage=600", 5),
        ("cache-control:must-revalidate,max-age=600", 6),
        ("hms-cache-control:public,max-age=600", 7),
    ] {
        assert_eq!(ask(0, fields).await, ("fwd=miss; stored".into(), first));
        assert_eq!(ask(1, fields).await, ("hit".into(), first), "{fields}");
    }
    // By the field in which the upstream is told who asks.
    let own = "cache-control:public,max-age=600|vary:x-hms-user";
    for (user, number) in [(0, 8), (1, 9)] {
        assert_eq!(ask(user, own).await, ("fwd=miss; stored".into(), number));
        assert_eq!(ask(user, own).await, ("hit".into(), number));
    }
    let nobody = host
        .get("/s/me?fields=cache-control:public,max-age=600")
        .await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn request_with_a_cookie_or_a_credential_of_the_upstream_is_one_of_a_caller() {
    let (_service, host) = cached().await;
    let fields = [
        ("cookie", "session=1"),
        ("authorization", "Basic YTpi"),
        ("x-api-key", "k"),
    ];
    for field in fields {
        let path = format!("/s/{}?fields=cache-control:max-age=600", field.0);
        let own = host.call(Method::GET, &path, &[field], "").await;
        assert_eq!(said(&own), "fwd=miss", "{field:?}");
        assert_eq!(said(&host.get(&path).await), "fwd=miss; stored");
        // Nor is it given what was made for nobody: a page that says "sign in".
        let own = host.call(Method::GET, &path, &[field], "").await;
        assert_eq!(said(&own), "fwd=miss", "{field:?}");
        let open = format!("/s/{}?fields=cache-control:public,max-age=600", field.0);
        host.get(&open).await;
        let own = host.call(Method::GET, &open, &[field], "").await;
        assert_eq!(said(&own), "hit", "{field:?}");
    }
}

#[tokio::test]
async fn answer_cannot_be_stored_for_another_host_or_scheme() {
    let (service, host) = cached().await;
    let ask = async |headers: &str| {
        let lines = format!("GET {FRESH} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        raw(host.gateway(), lines.as_bytes())
            .await
            .contains("hms; hit")
    };
    assert!(!ask("host: evil.example\r\n").await);
    assert!(!ask("host: good.example\r\n").await);
    assert!(ask("host: good.example\r\n").await);
    // A client's own claims reach neither the upstream nor the key.
    assert!(ask("host: good.example\r\nx-forwarded-host: evil.example\r\n").await);
    assert_eq!(service.seen().len(), 2);
    assert_eq!(service.seen()[1].header("x-forwarded-host"), "good.example");
}
