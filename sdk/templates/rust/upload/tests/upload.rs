//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::Window;
use serde_json::Value;

#[test]
fn file_comes_back_as_it_was_sent() {
    let window = Window::new();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let upload = window
        .post("/{{name}}")
        .header("content-type", "image/png")
        .body(sent.clone());
    let made = upload.send();
    assert_eq!(made.status(), 201, "{}", made.text());
    assert_eq!(made.json::<Value>()["bytes"], 3_000_000);

    let got = window.get(made.header("location").unwrap()).send();
    assert_eq!(got.header("content-type"), Some("image/png"));
    assert_eq!(got.header("content-length"), Some("3000000"));
    assert!(got.bytes() == sent);
    // In pieces of 1 MiB.
    assert_eq!(window.store("pieces").keys().len(), 3);
}

#[test]
fn empty_file_is_a_file() {
    let window = Window::new();
    let made = window.post("/{{name}}").send();
    let got = window.get(made.header("location").unwrap()).send();
    assert_eq!((got.status(), got.bytes()), (200, &b""[..]));
}

#[test]
fn unknown_file_is_not_found() {
    assert_eq!(
        Window::new().get("/{{name}}/none").send().problem(),
        "not-found"
    );
}
