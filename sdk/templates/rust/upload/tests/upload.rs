//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::{Answer, Window};
use serde_json::{Value, json};

fn get(window: &Window, path: &str, user: &str) -> Answer {
    window.get(path).user(user).send()
}

#[test]
fn file_comes_back_as_it_was_sent() {
    let window = Window::new();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let upload = window
        .post("/{{name}}")
        .user("alice")
        .header("content-type", "image/png")
        .body(sent.clone());
    let made = upload.send();
    assert_eq!(made.status(), 201, "{}", made.text());
    assert_eq!(made.json::<Value>()["bytes"], 3_000_000);

    let location = made.header("location").unwrap();
    let got = get(&window, location, "alice");
    assert_eq!(got.header("content-type"), Some("image/png"));
    assert_eq!(got.header("content-length"), Some("3000000"));
    assert!(got.bytes() == sent);
    // In pieces of 1 MiB.
    assert_eq!(window.store("pieces").keys().len(), 3);

    assert_eq!(get(&window, location, "bob").problem(), "not-found");
    let files = |user: &str| get(&window, "/{{name}}", user).json::<Value>()["files"].clone();
    assert_eq!(files("alice"), json!([made.json::<Value>()]));
    assert_eq!(files("bob"), json!([]));
}

#[test]
fn empty_file_is_a_file() {
    let window = Window::new();
    let made = window.post("/{{name}}").user("alice").send();
    let got = get(&window, made.header("location").unwrap(), "alice");
    assert_eq!((got.status(), got.bytes()), (200, &b""[..]));
}

#[test]
fn unknown_file_is_not_found() {
    let none = get(&Window::new(), "/{{name}}/none", "alice");
    assert_eq!(none.problem(), "not-found");
}
