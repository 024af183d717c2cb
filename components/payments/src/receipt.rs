//! A text message to who has paid, by the window notifications.

use hms_window::{Request, Timeouts, call, config};
use serde_json::{Map, Value, json};

/// The payment is done, and its answer should not wait long for this.
const FIRST_BYTE_MS: u64 = 3_000;

/// Sends one, if the operator wants it and the payment has a `phone`. Where that fails, the log
/// says so, and the payment stays as it is.
pub async fn send(id: &str, payment: &Map<String, Value>) {
    let Some(phone) = payment.get("phone").and_then(Value::as_str) else {
        return;
    };
    if config("notify").as_deref() != Some("true") {
        return;
    }
    let text = text(payment, config("currency").as_deref());
    let order = json!({ "to": phone, "text": text, "reference": id });
    let request = Request::post("/notifications")
        .with_json(&order)
        .with_timeouts(Timeouts::new().first_byte_ms(FIRST_BYTE_MS));
    match call("notifications", request).await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => eprintln!("payment {id}: no receipt by text: {}", answer.status()),
        Err(error) => eprintln!("payment {id}: no receipt by text: {error}"),
    }
}

fn text(payment: &Map<String, Value>, currency: Option<&str>) -> String {
    let mut text = "We have received your payment of ".to_owned();
    if let Some(amount) = payment.get("amount") {
        text.push_str(&amount.to_string());
    }
    if let Some(currency) = currency {
        text.push(' ');
        text.push_str(currency);
    }
    if let Some(purpose) = payment.get("purpose").and_then(Value::as_str) {
        // Room for the rest in a message of 160 characters.
        text.push_str(": ");
        text.extend(purpose.chars().take(100));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_the_amount_and_a_short_purpose() {
        let payment = |json: Value| json.as_object().unwrap().clone();
        let paid = payment(json!({ "amount": 42, "purpose": "FOIA copy fee" }));
        assert_eq!(
            text(&paid, Some("EUR")),
            "We have received your payment of 42 EUR: FOIA copy fee."
        );
        let long = payment(json!({ "amount": 1, "purpose": "ü".repeat(500) }));
        assert!(text(&long, Some("EUR")).chars().count() <= 160);
        let bare = payment(json!({ "amount": 0 }));
        assert_eq!(text(&bare, None), "We have received your payment of 0.");
    }
}
