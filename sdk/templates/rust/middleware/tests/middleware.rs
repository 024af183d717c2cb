//! The middleware in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::{Reply, Service, Window};
use serde_json::Value;

fn service() -> Service {
    Service::new(|call| Reply::text(200, format!("{} {}", call.method(), call.path())))
}

#[test]
fn change_is_kept_with_who_made_it_and_passed_on() {
    let service = service();
    let window = Window::with().in_front_of(&service).start();
    let answer = window.put("/desks/7").user("alice").body("oak").send();
    assert_eq!((answer.status(), &*answer.text()), (200, "PUT /desks/7"));
    assert_eq!(service.calls()[0].body(), b"oak");

    let id = answer.header("x-change").unwrap();
    let entry: Value = window.store("changes").get(id).unwrap();
    assert_eq!(
        (&entry["user"], &entry["status"]),
        (&"alice".into(), &200.into())
    );
}

#[test]
fn deletion_without_a_reason_is_not_passed_on() {
    let service = service();
    let window = Window::with().in_front_of(&service).start();
    let refused = window.delete("/desks/7").user("alice").send();
    assert_eq!(
        (refused.status(), &*refused.problem()),
        (400, "bad-request")
    );
    assert!(service.calls().is_empty());
    let done = window
        .delete("/desks/7")
        .user("alice")
        .header("x-reason", "woodworm")
        .send();
    assert_eq!(done.status(), 200);
}

#[test]
fn reads_pass_and_are_not_kept() {
    let service = service();
    let window = Window::with().in_front_of(&service).start();
    let answer = window.get("/desks/7").send();
    assert_eq!((answer.status(), answer.header("x-change")), (200, None));
    assert!(window.store("changes").keys().is_empty());
}
