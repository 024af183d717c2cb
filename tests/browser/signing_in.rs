//! Who gets in, and who does not.

use crate::browser::{Browser, token};
use hms_harness::http::send;
use hms_harness::{Host, guest};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn wrong_token_is_refused_and_signing_out_ends_the_session() {
    let host = Host::with_open_windows(&[]).await;
    let Some(browser) = Browser::open().await else {
        return;
    };
    browser.go(&host, "/").await;
    browser.see("h2", "Sign in").await;
    browser.sign_in("a-token-of-somebody-else-entirely").await;
    browser.see("#fault", "not the admin token").await;
    browser.sign_in(&token(&host)).await;
    browser.see("h1", "Windows").await;
    let cookie = browser.cookies().await.remove(0);
    let port = host.admin_url().rsplit_once(':').unwrap().1;
    let (name, value) = (
        cookie["name"].as_str().unwrap(),
        cookie["value"].as_str().unwrap(),
    );
    assert_eq!(name, format!("hms_admin_{port}"));
    assert_eq!(browser.run("return document.cookie").await, "", "HttpOnly");
    browser.click(".top form button").await;
    browser.see("h2", "Sign in").await;
    // The session is over, not only forgotten by the browser.
    let cookie = format!("{name}={value}");
    let headers = [("cookie", cookie.as_str())];
    let url = format!("{}/ui/api/windows", host.admin_url());
    assert_eq!(
        send(Method::GET, &url, &headers, Vec::new()).await.status,
        401
    );
}

#[tokio::test]
async fn page_of_a_window_changes_nothing_and_no_window_sees_the_cookie() {
    let host = Host::with_open_windows(&[("w", &guest("prober").await)]).await;
    let Some(browser) = Browser::at(&host).await else {
        return;
    };
    let cookie = browser.cookies().await.remove(0);
    let cookie = format!(
        "{}={}",
        cookie["name"].as_str().unwrap(),
        cookie["value"].as_str().unwrap()
    );
    // A page on another port of the same address: the browser sends it the cookie.
    let seen = format!("{}/w/headers", host.gateway());
    browser.open_url(&seen).await;
    let text = browser.run("return document.body.innerText").await;
    let headers: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    assert_eq!(headers.get("cookie"), None, "{headers}");
    let ask = "const [url, done] = arguments;
        fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include'})
            .then(() => done('sent'), (error) => done(String(error)));";
    let url = format!("{}/ui/api/windows/w/stop", host.admin_url());
    let sent = browser.run_async(ask, json!([url])).await;
    // Not even whether it was answered is for that page to know.
    assert_eq!(sent, "TypeError: Failed to fetch");
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-site"),
        ("origin", host.gateway()),
    ];
    let refused = send(Method::POST, &url, &headers, Vec::new()).await;
    assert_eq!(refused.status, 403);
    assert_eq!(host.window("w").await.state.as_str(), "open");
    // The same from our own page.
    browser.go(&host, "/ui/windows/w").await;
    browser.click("#stop-form button").await;
    browser.click("#stop-form button").await;
    browser.see(".state", "stopped").await;
}
