//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::{Answer, Window};
use serde_json::{Value, json};

fn create(window: &Window, user: &str, title: &str) -> String {
    let form = json!({ "title": title, "text": "" });
    let made = window.post("/{{name}}").user(user).json(&form).send();
    assert_eq!(made.status(), 201, "{}", made.text());
    made.header("location").unwrap().to_owned()
}

#[test]
fn note_is_kept_and_shown_to_its_owner_alone() {
    let window = Window::new();
    let location = create(&window, "alice", "milk");
    let shown: Value = window.get(&location).user("alice").send().json();
    assert_eq!(shown["title"], "milk");
    assert_eq!(
        window.get(&location).user("bob").send().problem(),
        "not-found"
    );
    assert_eq!(window.get(&location).send().status(), 401);
}

#[test]
fn change_of_an_old_version_is_refused() {
    let window = Window::new();
    let location = create(&window, "alice", "milk");
    let read = window.get(&location).user("alice").send();
    let tag = read.header("etag").unwrap().to_owned();
    let replace = |title: &str| -> Answer {
        let request = window.put(&location).user("alice").header("if-match", &tag);
        request.json(&json!({ "title": title })).send()
    };
    assert_eq!(replace("bread").json::<Value>()["version"], 2);
    assert_eq!(replace("cheese").problem(), "precondition-failed");

    let not_read_again = window
        .get(&location)
        .user("alice")
        .header("if-none-match", "\"2\"");
    assert_eq!(not_read_again.send().status(), 304);
    let delete = |tag: &str| {
        window
            .delete(&location)
            .user("alice")
            .header("if-match", tag)
            .send()
    };
    assert_eq!(delete(&tag).status(), 412);
    assert_eq!(delete("\"2\"").status(), 204);
    assert_eq!(window.get(&location).user("alice").send().status(), 404);
}

#[test]
fn list_comes_in_pages_in_the_order_of_time() {
    let window = Window::new();
    for title in ["one", "two", "three"] {
        create(&window, "alice", title);
    }
    let page = |query: &str| -> Value {
        window
            .get(&format!("/{{name}}?limit=2{query}"))
            .user("alice")
            .send()
            .json()
    };
    let first = page("");
    assert_eq!(first["notes"][1]["title"], "two");
    let second = page(&format!("&cursor={}", first["next"].as_str().unwrap()));
    assert_eq!(second["notes"][0]["title"], "three");
    assert_eq!(second["next"], Value::Null);
}

#[test]
fn invalid_note_is_refused() {
    let window = Window::new();
    let refused = window
        .post("/{{name}}")
        .user("alice")
        .json(&json!({ "title": "" }))
        .send();
    assert_eq!(
        (refused.status(), &*refused.problem()),
        (400, "bad-request")
    );
}
