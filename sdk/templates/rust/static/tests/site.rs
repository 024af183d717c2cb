//! The site in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::Window;

#[test]
fn page_comes_with_its_policy_and_is_not_sent_twice() {
    let window = Window::new();
    let page = window.get("/").send();
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.text().contains("<h1>{{name}}</h1>"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'self'")
    );
    let tag = page.header("etag").unwrap();
    assert_eq!(
        window.get("/").header("if-none-match", tag).send().status(),
        304
    );
}

#[test]
fn files_are_compressed_when_the_client_accepts_it() {
    let window = Window::new();
    let style = window
        .get("/assets/style.css")
        .header("accept-encoding", "br")
        .send();
    assert_eq!(style.header("content-encoding"), Some("br"));
    let part = window
        .get("/assets/style.css")
        .header("range", "bytes=0-3")
        .send();
    assert_eq!((part.status(), part.bytes().len()), (206, 4));
}

#[test]
fn other_paths_are_not_found() {
    let window = Window::new();
    let missing = window.get("/none").send();
    assert_eq!(missing.status(), 404);
    assert!(missing.text().contains("There is no page here"));
    assert_eq!(window.post("/").body("x").send().status(), 405);
}
