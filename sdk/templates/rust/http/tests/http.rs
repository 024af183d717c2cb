//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::Window;
use serde_json::Value;

#[test]
fn named_person_is_greeted() {
    let window = Window::new();
    assert_eq!(
        window.get("/{{name}}").send().text(),
        "hello from {{name}}\n"
    );
    let answer = window.get("/{{name}}?name=alice").send();
    assert_eq!((answer.status(), &*answer.text()), (200, "hello alice\n"));
}

#[test]
fn time_is_told() {
    let answer = Window::new().get("/{{name}}/time").send();
    let told: Value = answer.json();
    assert!(told["milliseconds"].as_u64() > Some(1_700_000_000_000));
}

#[test]
fn other_methods_and_paths_are_refused() {
    let window = Window::new();
    let answer = window.post("/{{name}}").body("hello").send();
    assert_eq!(
        (answer.status(), &*answer.problem()),
        (405, "method-not-allowed")
    );
    assert_eq!(window.get("/{{name}}/other").send().problem(), "not-found");
}
