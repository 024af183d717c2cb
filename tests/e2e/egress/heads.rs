//! What a service reads of a request beside the guest's own fields is the host's word.

use super::*;
use http::Method;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn guest_forges_nothing_that_is_for_the_host_to_say() {
    for component in CALLERS {
        let (service, grants) = (service().await, Grants::new());
        grants.write("w", &to(&service.url(), ""));
        // A trace goes on from there alone.
        let proxy = ["--trusted-proxies", "127.0.0.1"];
        let host = host(&[("w", component)], &grants, &proxy).await;
        let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let client = [
            ("x-request-id", "of-the-client"),
            ("traceparent", traceparent.as_str()),
            ("authorization", "Bearer citizen"),
            ("cookie", "session=citizen"),
            ("x-hms-user", "forged"),
        ];
        for how in ["claim", "copy"] {
            let path = format!("/w/{how}?{}/", service.url());
            let answer = host.call(Method::GET, &path, &client, "").await;
            assert_eq!(answer.status, 200, "{component}: {}", answer.text());
            let seen = service.seen().pop().unwrap();
            let heads = format!("{component} {how}: {:?}", seen.headers);
            assert!(
                !heads.contains("forged") && !heads.contains("mallory"),
                "{heads}"
            );
            assert!(!heads.contains("citizen"), "{heads}");
            for name in seen.headers.keys() {
                let name = name.as_str().replace('_', "-");
                assert!(!name.starts_with("x-hms-"), "{heads}");
            }
            assert_eq!(format!("http://{}", seen.header("host")), service.url());
            assert_eq!(seen.header("x-request-id"), "of-the-client", "{heads}");
            let child = seen.header("traceparent");
            assert!(child.starts_with(&format!("00-{TRACE}-")), "{heads}");
            assert!(!child.contains("b7ad6b7169203331"), "{heads}");
            for gone in ["connection", "upgrade", "expect", "proxy-authorization"] {
                assert_eq!(seen.header(gone), "", "{heads}");
            }
            assert!(["", "trailers"].contains(&seen.header("te")), "{heads}");
            assert!(
                ["", "chunked"].contains(&seen.header("transfer-encoding")),
                "{heads}"
            );
            assert!(seen.body.is_empty(), "{heads}");
            if how == "claim" {
                assert_eq!(seen.header("x-own"), "the guest's", "{heads}");
            }
        }
    }
}

#[tokio::test]
async fn length_that_no_body_has_smuggles_no_second_request() {
    let (service, grants) = (service().await, Grants::new());
    grants.write("w", &to(&service.url(), ""));
    let host = host(&[("w", "caller")], &grants, &[]).await;
    let url = format!("{}/first", service.url());
    let claimed = ask(&host, "length-5", &url).await;
    assert_eq!(claimed.status, 502, "{}", claimed.text());
    for _ in 0..3 {
        let next = ask(&host, "get", &format!("{}/next", service.url())).await;
        assert_eq!(next.json()["path"], "/next");
    }
    let seen = service.seen();
    assert!(seen.iter().all(|seen| seen.body.is_empty()), "{seen:?}");
    let next = seen.iter().filter(|seen| seen.path == "/next");
    assert_eq!(next.count(), 3, "{seen:?}");
}
