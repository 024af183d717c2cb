//! The dashboard as a client without a browser sees it: who gets in, and what is refused.

use hms_harness::http::{Answer, send};
use hms_harness::{Host, Options, guest};
use http::Method;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn ask(host: &Host, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let url = format!("{}{path}", host.admin_url());
    send(method, &url, headers, Vec::new()).await
}

async fn login(host: &Host, token: &str, headers: &[(&str, &str)]) -> Answer {
    let url = format!("{}/ui/login", host.admin_url());
    send(Method::POST, &url, headers, format!("token={token}").into()).await
}

fn token(host: &Host) -> String {
    std::fs::read_to_string(host.data().join("admin.token")).unwrap()
}

/// The cookie of a new session.
async fn cookie(host: &Host) -> String {
    let answer = login(host, &token(host), &[SAME]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.header("set-cookie").to_owned();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn admin_token_begins_a_session_whose_cookie_is_for_the_dashboard_alone() {
    let host = Host::with_open_windows(&[]).await;
    assert_eq!(
        ask(&host, Method::GET, "/", &[]).await.header("location"),
        "/ui/"
    );
    let page = ask(&host, Method::GET, "/ui/", &[]).await;
    assert_eq!(
        (page.status.as_u16(), page.header("location")),
        (303, "/ui/login")
    );
    let refused = login(&host, "wrong", &[SAME]).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("set-cookie"), "");
    let origin = ("origin", host.admin_url());
    let answer = login(&host, &token(&host), &[origin]).await;
    let cookie = answer.header("set-cookie");
    let port = host.admin_url().rsplit_once(':').unwrap().1;
    assert!(
        cookie.starts_with(&format!("hms_admin_{port}=")),
        "{cookie}"
    );
    assert!(
        cookie.ends_with("; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=43200"),
        "{cookie}"
    );
    let id = cookie.split(';').next().unwrap();
    let page = ask(&host, Method::GET, "/ui/", &[("cookie", id)]).await;
    assert_eq!(page.status, 200);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(page.header(name), value);
    }
    // It is no credential of the admin API, and that has not changed.
    assert_eq!(
        ask(&host, Method::GET, "/windows", &[("cookie", id)])
            .await
            .status,
        401
    );
    assert_eq!(host.admin(Method::GET, "/windows", "").await.status, 200);
    let api = ask(&host, Method::GET, "/ui/api/windows", &[("cookie", id)]).await;
    assert_eq!(
        api.text(),
        host.admin(Method::GET, "/windows", "").await.text()
    );
    // A new token ends the session.
    let other = "another-token-of-the-operators-own-making";
    std::fs::write(host.data().join("admin.token"), other).unwrap();
    hms_harness::eventually("the session is over", || async {
        let page = ask(&host, Method::GET, "/ui/api/windows", &[("cookie", id)]).await;
        (page.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn request_from_another_page_or_for_another_name_is_refused() {
    let host = Host::start_with(Options {
        args: vec!["--admin-host".into(), "hms.example".into()],
        routes: Vec::new(),
        up: None,
    })
    .await;
    host.deploy("w", &guest("hello-wasip3").await).await;
    let id = cookie(&host).await;
    let cookie = ("cookie", id.as_str());
    let stop = "/ui/api/windows/w/stop";
    let elsewhere = ("origin", host.gateway());
    for headers in [
        vec![cookie],
        vec![cookie, ("sec-fetch-site", "same-site")],
        vec![cookie, ("sec-fetch-site", "cross-site")],
        vec![cookie, elsewhere],
        vec![cookie, ("origin", "null")],
    ] {
        let answer = ask(&host, Method::POST, stop, &headers).await;
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    // To read costs something as well, and a page of a window comes with the cookie.
    for path in ["/ui/api/windows", "/ui/live/"] {
        let headers = [cookie, ("sec-fetch-site", "same-site")];
        assert_eq!(ask(&host, Method::GET, path, &headers).await.status, 403);
    }
    let own = ask(&host, Method::GET, "/ui/api/windows", &[cookie, SAME]).await;
    assert_eq!(own.status, 200);
    assert_eq!(login(&host, &token(&host), &[elsewhere]).await.status, 403);
    assert_eq!(host.window("w").await.state.as_str(), "open");
    assert_eq!(
        ask(&host, Method::POST, stop, &[SAME]).await.status,
        401,
        "no session"
    );
    for (name, status) in [
        ("evil.example", 421),
        ("hms.example", 200),
        ("localhost:1", 200),
    ] {
        let page = ask(&host, Method::GET, "/ui/", &[cookie, ("host", name)]).await;
        assert_eq!(page.status, status, "{name}");
    }
    assert_eq!(
        ask(&host, Method::POST, stop, &[cookie, SAME]).await.status,
        200
    );
    assert_eq!(host.window("w").await.state.as_str(), "stopped");
}

/// As many live pages as there may be, and one more, which is refused.
async fn live_pages(host: &Host, id: &str) -> Vec<JoinHandle<Answer>> {
    let url = format!("{}/ui/live/", host.admin_url());
    let live: Vec<_> = (0..17)
        .map(|_| {
            let (url, id) = (url.clone(), id.to_owned());
            tokio::spawn(async move {
                let headers = [("cookie", id.as_str())];
                send(Method::GET, &url, &headers, Vec::new()).await
            })
        })
        .collect();
    hms_harness::eventually("one too many is refused", || async {
        let refused = live.iter().filter(|one| one.is_finished()).count();
        (refused == 1).then_some(())
    })
    .await;
    live
}

/// How many of them were shown something before they ended.
async fn shown(live: Vec<JoinHandle<Answer>>) -> usize {
    let mut shown = 0;
    for answer in live {
        let answer = answer.await.unwrap();
        shown += usize::from(answer.status == 200 && answer.text().starts_with("data: "));
    }
    shown
}

#[tokio::test]
async fn live_page_ends_with_its_session() {
    let host = Host::with_open_windows(&[]).await;
    let id = cookie(&host).await;
    let live = live_pages(&host, &id).await;
    let out = ask(&host, Method::POST, "/ui/logout", &[("cookie", &id), SAME]).await;
    assert_eq!(out.status, 303);
    let ended = tokio::time::timeout(Duration::from_secs(20), shown(live)).await;
    assert_eq!(ended.expect("they end"), 16);
}

/// Signs in from this address. The head of the answer.
async fn login_from(host: &Host, address: [u8; 4], token: &str) -> String {
    let authority = host.admin_url().trim_start_matches("http://");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(authority.parse().unwrap()).await.unwrap();
    let body = format!("token={token}");
    let request = format!(
        "POST /ui/login HTTP/1.1\r\nHost: {authority}\r\nSec-Fetch-Site: same-origin\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn wrong_tokens_are_bounded_and_nobody_who_is_in_notices() {
    let host = Host::with_open_windows(&[]).await;
    let id = cookie(&host).await;
    let counted = async || host.metric("hms_admin_sign_ins_refused_total").await;
    for _ in 0..10 {
        assert_eq!(login(&host, "wrong", &[SAME]).await.status, 403);
    }
    assert_eq!(counted().await, Some(0));
    let refused = login(&host, &token(&host), &[SAME]).await;
    assert!(
        refused.text().contains("Too many wrong tokens"),
        "{}",
        refused.text()
    );
    assert_eq!(counted().await, Some(1));
    let page = ask(&host, Method::GET, "/ui/", &[("cookie", &id)]).await;
    assert_eq!(page.status, 200);
    // Nor does an operator at another address.
    let in_ = login_from(&host, [127, 0, 0, 2], &token(&host)).await;
    assert!(in_.contains(" 303 "), "{in_}");
}

#[tokio::test]
async fn live_page_ends_with_the_host_and_leaves_room_for_the_others() {
    let mut host = Host::with_open_windows(&[]).await;
    let id = cookie(&host).await;
    let live = live_pages(&host, &id).await;
    assert_eq!(host.admin(Method::GET, "/windows", "").await.status, 200);
    let begun = Instant::now();
    assert!(host.terminate().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(shown(live).await, 16);
}
