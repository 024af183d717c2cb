//! The pages over an admin API of a few answers.

use crate::{About, AdminApi, Dashboard, Entered};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hms_core::body::{self, Body};
use http::{Request, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TOKEN: &str = "the-admin-token-of-this-test-alone";

/// Answers what a window named after markup would make it answer.
struct Fake;

const MARKUP: &str = "<script>alert(1)</script>";

impl AdminApi for Fake {
    fn call(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let json = match request.uri().path() {
            "/windows" => format!(
                r#"{{"windows": [{{"name": "w", "state": "open", "live": null, "leases": 3,
                "queued": 0, "canary": null, "reuse_off": "{MARKUP}", "tripped": null,
                "half_open": null, "store_fault": null, "limits": {{"instances": 8}},
                "unsaved": null, "unreadable": null}}]}}"#
            ),
            "/keys" => format!(
                r#"{{"keys": [{{"id": "k", "user": "{MARKUP}", "scopes": [],
                "created": "2026-11-26T10:00:00Z"}}], "unsaved": null}}"#
            ),
            _ => String::new(),
        };
        let mut answer = Response::new(body::full(json.clone()));
        if json.is_empty() {
            *answer.status_mut() = StatusCode::NOT_FOUND;
        }
        async move { answer }.boxed()
    }

    fn credential(&self) -> BoxFuture<'_, [u8; 32]> {
        async { Sha256::digest(TOKEN).into() }.boxed()
    }
}

fn request(path: &str) -> http::request::Builder {
    Request::builder()
        .uri(path)
        .header(header::HOST, "127.0.0.1:9001")
}

struct Signed {
    dashboard: Arc<Dashboard>,
    cookie: String,
}

impl Signed {
    async fn in_() -> Signed {
        let about = About {
            port: 9001,
            ..About::default()
        };
        let dashboard = Arc::new(Dashboard::new(about, CancellationToken::new()));
        let form = request("/ui/login")
            .method("POST")
            .header(header::ORIGIN, "https://127.0.0.1:9001")
            .body(body::full(format!("token={TOKEN}")))
            .unwrap();
        let Entered::Answered(answer) = dashboard.enter(Arc::new(Fake), form, CLIENT).await else {
            panic!("a sign-in is answered");
        };
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(
            cookie.ends_with("; Secure"),
            "it was asked by HTTPS: {cookie}"
        );
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Signed { dashboard, cookie }
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let page = request(path).header(header::COOKIE, &self.cookie);
        let page = page.body(body::empty()).unwrap();
        match self.dashboard.enter(Arc::new(Fake), page, CLIENT).await {
            Entered::Answered(answer) => answer,
            Entered::Page(wanted) => self.dashboard.page(Arc::new(Fake), wanted).await,
            Entered::Api(request) => Response::new(body::full(request.uri().to_string())),
        }
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        let bytes = crate::api::whole(answer.into_body(), 1 << 20)
            .await
            .unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

#[tokio::test]
async fn markup_of_a_window_or_caller_is_text_in_every_page() {
    let signed = Signed::in_().await;
    for path in [
        "/ui/",
        "/ui/keys",
        "/ui/?filter=%3Cscript%3Ealert(1)%3C/script%3E",
    ] {
        let page = signed.text(path).await;
        assert!(page.contains("<h1>"), "{page}");
        assert!(!page.contains(MARKUP), "{path}: {page}");
    }
    assert!(signed.text("/ui/").await.contains("3 of 8"));
}

#[tokio::test]
async fn every_page_needs_a_session_and_every_other_path_is_not_there() {
    let signed = Signed::in_().await;
    for path in [
        "/ui/",
        "/ui/keys",
        "/ui/host",
        "/ui/live/",
        "/ui/api/windows",
        "/ui/nothing",
    ] {
        let unsigned = request(path).body(body::empty()).unwrap();
        let Entered::Answered(answer) = signed
            .dashboard
            .enter(Arc::new(Fake), unsigned, CLIENT)
            .await
        else {
            panic!("{path} needs no session");
        };
        assert!(
            [303, 401].contains(&answer.status().as_u16()),
            "{path}: {}",
            answer.status()
        );
    }
    for path in [
        "/ui/nothing",
        "/ui/windows/a%2Fb",
        "/ui/windows/w/nothing",
        "/ui/assets/nothing",
    ] {
        assert_eq!(
            signed.get(path).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(signed.text("/ui/api/windows/w?x=1").await, "/windows/w?x=1");
}
