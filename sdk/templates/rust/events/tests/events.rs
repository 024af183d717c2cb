//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::Event;
use hms_window::testing::{Delivery, Window};
use serde_json::{Value, json};

fn ordered(item: &str, count: u32) -> Event {
    let data = json!({ "item": item, "count": count });
    Event::new("{{name}}.ordered.v1", &data)
        .unwrap()
        .subject("7")
}

#[test]
fn order_is_told_of_by_an_event() {
    let window = Window::new();
    let made = window
        .post("/{{name}}")
        .json(&json!({ "item": "chair", "count": 4 }))
        .send();
    assert_eq!(made.status(), 201, "{}", made.text());
    let id = made.json::<Value>()["id"].as_str().unwrap().to_owned();

    let events = window.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, "{{name}}.ordered.v1");
    assert_eq!(events[0].subject.as_deref(), Some(&*id));
    assert_eq!(events[0].json::<Value>()["item"], "chair");
}

#[test]
fn orders_that_it_hears_of_are_counted() {
    let window = Window::with().receives_at("/events").start();
    assert_eq!(window.deliver(ordered("chair", 4)), Delivery::Done);
    assert_eq!(window.deliver(ordered("chair", 2)), Delivery::Done);
    let counts: Value = window.get("/{{name}}").send().json();
    assert_eq!(counts, json!({ "chair": 6 }));
}

#[test]
fn order_of_nothing_is_kept_for_a_person() {
    let window = Window::with().receives_at("/events").start();
    let Delivery::Parked { status, .. } = window.deliver(ordered("", 1)) else {
        panic!("it was taken");
    };
    assert_eq!(status, Some(422));
}

#[test]
fn client_cannot_forge_an_event() {
    let forged = Window::new()
        .post("/events")
        .json(&json!({ "item": "chair", "count": 4 }));
    assert_eq!(forged.send().problem(), "not-a-delivery");
}
