//! The window in a real host: `hms` must be on the PATH, or named by HMS_BIN.

use hms_window::testing::{Reply, Service, Window};
use serde_json::{Value, json};

/// A window that asks this service.
fn asking(service: &Service) -> Window {
    Window::with()
        .config("rates-url", service.url())
        .service(service)
        .start()
}

#[test]
fn rate_is_asked_for_once_and_kept() {
    let service = Service::new(|_| Reply::json(200, &json!({ "rate": 0.94 })));
    let window = asking(&service);
    for _ in 0..2 {
        let answer = window.get("/{{name}}/CHF").send();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.json::<Value>()["rate"], 0.94);
    }
    let known: Value = window.get("/{{name}}").send().json();
    assert_eq!(known["rates"][0]["currency"], "CHF");
    let calls = service.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].method(), calls[0].path()),
        ("GET", "/v1/rates/CHF")
    );
}

#[test]
fn unknown_currency_is_not_found_and_a_failing_service_is_a_502() {
    let service = Service::new(|call| match call.path() {
        "/v1/rates/XXX" => Reply::empty(404),
        _ => Reply::text(500, "the database is on fire"),
    });
    let window = asking(&service);
    assert_eq!(window.get("/{{name}}/XXX").send().problem(), "not-found");
    let failed = window.get("/{{name}}/CHF").send();
    assert_eq!(
        (failed.status(), &*failed.problem()),
        (502, "rates-unavailable")
    );
    assert!(!failed.text().contains("fire"));
    window.logged("the service answered 500");
}

#[test]
fn call_without_a_grant_is_not_made_and_the_log_says_what_to_grant() {
    let service = Service::new(|_| Reply::empty(500));
    let window = Window::with().config("rates-url", service.url()).start();
    assert!(window.get("/{{name}}/CHF").send().status() >= 500);
    window.logged("outbound");
    assert!(service.calls().is_empty());
}
