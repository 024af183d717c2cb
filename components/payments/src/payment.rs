//! A payment as it is kept, and the events that tell of it.

use hms_window::{Event, Problem, TransactionError};
use serde_json::{Map, Value, json};

/// The members as the client sent them, and this window's own.
pub type Payment = Map<String, Value>;

/// Members that are this window's words and not the client's.
const OURS: [&str; 4] = ["id", "owner", "status", "charge"];

/// Bytes of a payment as JSON. An event has room for 64 KiB: this and what is added later.
const MAX_BYTES: usize = 60 * 1024;

/// Bytes of a reference that subscriptions can filter by.
const REFERENCE_BYTES: usize = 200;

/// What can be done with a payment.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// It was recorded, and no card was charged.
    Recorded,
    /// A card was charged. The id that the processor has for it, if it said one.
    Charged(Option<String>),
    Pending,
    Declined,
    Refunded,
}

/// A payment of `owner` with what the client sent in `form`.
///
/// # Errors
/// 413 if it is too large.
pub fn new(id: &str, owner: &str, form: Map<String, Value>) -> Result<Payment, Problem> {
    let mut payment = Map::from_iter([("id".to_owned(), json!(id))]);
    let sent = form
        .into_iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()));
    payment.extend(sent);
    payment.insert("owner".to_owned(), json!(owner));
    let bytes = serde_json::to_vec(&payment).map_err(Problem::internal)?;
    match bytes.len() > MAX_BYTES {
        true => Err(Problem::too_large(MAX_BYTES as u64)),
        false => Ok(payment),
    }
}

/// The state of a payment, by its `status`.
pub fn state(payment: &Payment) -> State {
    let text = |name: &str| payment.get(name).and_then(Value::as_str);
    match text("status") {
        Some("charged") => State::Charged(text("charge").map(str::to_owned)),
        Some("pending") => State::Pending,
        Some("declined") => State::Declined,
        Some("refunded") => State::Refunded,
        _ => State::Recorded,
    }
}

/// `gov.payment.paid.v1`: the money is there. `currency` is the operator's.
pub fn paid(payment: &Payment, currency: Option<String>) -> Result<Event, TransactionError> {
    event("gov.payment.paid.v1", payment, currency)
}

/// `gov.payment.refunded.v1`: it was given back.
pub fn refunded(payment: &Payment, currency: Option<String>) -> Result<Event, TransactionError> {
    event("gov.payment.refunded.v1", payment, currency)
}

/// The payment, without the token of a card, which is nobody else's business.
fn event(
    kind: &str,
    payment: &Payment,
    currency: Option<String>,
) -> Result<Event, TransactionError> {
    let mut data = payment.clone();
    data.shift_remove("card");
    if let Some(currency) = currency {
        data.insert("currency".to_owned(), json!(currency));
    }
    let mut event = Event::new(kind, &data)?;
    if let Some(id) = payment.get("id").and_then(Value::as_str) {
        event = event.subject(id);
    }
    // An attribute as well, so that a window can subscribe to its own payments only.
    if let Some(reference) = reference(payment) {
        event = event.attribute("reference", reference);
    }
    Ok(event)
}

/// What the payment is for, if it is a short text in ASCII.
pub fn reference(payment: &Payment) -> Option<&str> {
    let reference = payment.get("reference")?.as_str()?;
    let fits = (1..=REFERENCE_BYTES).contains(&reference.len())
        && reference.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fits.then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(value: Value) -> Payment {
        value.as_object().unwrap().clone()
    }

    fn made(sent: Value) -> Payment {
        new("p-1", "alice", form(sent)).unwrap()
    }

    #[test]
    fn words_of_the_window_are_not_the_clients() {
        let sent = json!({ "amount": 1, "id": "x", "owner": "bob", "status": "refunded",
            "charge": "ch-9", "phone": "+15550100" });
        let kept = json!({ "id": "p-1", "amount": 1, "phone": "+15550100", "owner": "alice" });
        assert_eq!(Value::Object(made(sent)), kept);
    }

    #[test]
    fn payment_fits_into_an_event() {
        let sent = |bytes| form(json!({ "amount": 1, "purpose": "a".repeat(bytes) }));
        assert!(new("p-1", "alice", sent(60_000)).is_ok());
        let refused = new("p-1", "alice", sent(61_440)).unwrap_err();
        assert_eq!(refused.status(), 413);
    }

    #[test]
    fn event_tells_what_is_kept_but_not_the_card() {
        let payment = made(json!({ "amount": 42, "card": "tok_visa", "reference": "passports/7" }));
        let event = paid(&payment, Some("EUR".into())).unwrap();
        let data = json!({ "id": "p-1", "amount": 42, "reference": "passports/7",
            "owner": "alice", "currency": "EUR" });
        let expected = Event::new("gov.payment.paid.v1", &data).unwrap();
        assert_eq!(
            event,
            expected
                .subject("p-1")
                .attribute("reference", "passports/7")
        );
        let refunded = refunded(&made(json!({ "amount": 42 })), None).unwrap();
        let data = json!({ "id": "p-1", "amount": 42, "owner": "alice" });
        let expected = Event::new("gov.payment.refunded.v1", &data).unwrap();
        assert_eq!(refunded, expected.subject("p-1"));
    }

    #[test]
    fn only_a_short_text_is_an_attribute() {
        let of = |value: Value| reference(&made(json!({ "reference": value }))).map(str::to_owned);
        assert_eq!(of(json!("passports/7")).as_deref(), Some("passports/7"));
        for other in [
            json!(7),
            json!(""),
            json!("a\nb"),
            json!("ü"),
            json!("r".repeat(201)),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn state_is_by_status() {
        for (kept, state_of_it) in [
            (json!({}), State::Recorded),
            (json!({ "status": "pending" }), State::Pending),
            (json!({ "status": "declined" }), State::Declined),
            (json!({ "status": "refunded" }), State::Refunded),
            (json!({ "status": "charged" }), State::Charged(None)),
            (
                json!({ "status": "charged", "charge": "ch-1" }),
                State::Charged(Some("ch-1".into())),
            ),
        ] {
            assert_eq!(state(&form(kept.clone())), state_of_it, "{kept}");
        }
    }
}
