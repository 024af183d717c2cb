//! Payments by card: `POST {card-url}/v1/charges` of the card processor, and
//! `POST {card-url}/v1/charges/{charge}/refund` to give one back.
//!
//! The operator says by `card-url` in `windows/payments.yaml` where the processor is, and the host
//! adds the key, which this window never sees. A payment is kept as `pending` before the processor
//! is asked, and every request for it has its id for the `Idempotency-Key`: whatever is lost on the
//! way, the card is charged at most once, and asking again shows what became of it.

use hms_window::{Problem, Request, Response, StatusCode, Timeouts, config, fetch};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of a token that stands for a card.
const TOKEN_BYTES: usize = 200;

/// Bytes of an id that the processor gives.
const CHARGE_BYTES: usize = 200;

/// Of one request: what takes longer is not known.
const FIRST_BYTE_MS: u64 = 10_000;
const CONNECT_MS: u64 = 2_000;

/// When to ask again for a refund of which nothing is known.
const REFUND_AGAIN: Duration = Duration::from_secs(10);

/// What became of a payment by card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    Charged,
    Declined,
    /// The processor has not said.
    Pending,
}

impl Charge {
    /// As it stands in the payment.
    pub fn word(self) -> &'static str {
        match self {
            Charge::Charged => "charged",
            Charge::Declined => "declined",
            Charge::Pending => "pending",
        }
    }
}

/// What the processor says of a charge.
#[derive(Deserialize)]
struct Receipt {
    id: Option<String>,
}

/// The card processor.
pub struct Processor {
    url: String,
    currency: String,
}

impl Processor {
    /// The one that the operator has set by `card-url`, if any.
    pub fn configured() -> Option<Self> {
        let url = config("card-url").filter(|url| !url.is_empty())?;
        Some(Processor {
            url: format!("{}/v1/charges", url.trim_end_matches('/')),
            currency: config("currency").unwrap_or_else(|| "EUR".to_owned()),
        })
    }

    /// Charges `amount` for the payment `id`, and the id that the processor has for it.
    pub async fn charge(
        &self,
        id: &str,
        amount: &Value,
        token: &str,
    ) -> Result<(Charge, Option<String>), Problem> {
        let order = json!({
            "amount": amount,
            "currency": self.currency,
            "card": token,
            "reference": id,
        });
        match fetch(request(&self.url, &order, id)?).await {
            Ok(answer) => Ok(of_answer(id, answer).await),
            Err(error) => {
                eprintln!("payment {id}: {error}");
                Ok((Charge::Pending, None))
            }
        }
    }

    /// Gives back what was charged for the payment `id`; asked again, it does so once.
    ///
    /// # Errors
    /// 422 if the processor refuses, 503 if it is not known what it did.
    pub async fn refund(&self, id: &str, charge: &str) -> Result<(), Problem> {
        let url = format!("{}/{charge}/refund", self.url);
        let key = format!("{id}-refund");
        let status = match fetch(request(&url, &json!({ "reference": id }), &key)?).await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                eprintln!("refund of payment {id}: the card processor answered {status}");
                Some(status)
            }
            Err(error) => {
                eprintln!("refund of payment {id}: {error}");
                None
            }
        };
        Err(match status.map(of_status) {
            Some(Charge::Declined) => Problem::new(
                422,
                "refund-refused",
                "the card processor does not refund this charge",
            ),
            _ => Problem::new(
                503,
                "refund-unknown",
                "the card processor has not answered: ask again, it refunds once",
            )
            .retry_after(REFUND_AGAIN),
        })
    }
}

fn request(url: &str, order: &Value, key: &str) -> Result<Request, Problem> {
    let timeouts = Timeouts::new()
        .connect_ms(CONNECT_MS)
        .first_byte_ms(FIRST_BYTE_MS);
    Request::post(url)
        .with_json(order)
        .with_timeouts(timeouts)
        .with_header("idempotency-key", key)
}

async fn of_answer(id: &str, answer: Response) -> (Charge, Option<String>) {
    let status = answer.status();
    let charge = of_status(status);
    if charge != Charge::Charged {
        eprintln!("payment {id}: the card processor answered {status}");
        return (charge, None);
    }
    // It is charged, whatever else the answer says.
    match answer.read_json::<Receipt>().await {
        Ok(receipt) => (charge, receipt.id.filter(|id| is_segment(id))),
        Err(error) => {
            eprintln!("payment {id}: charged, but {error}");
            (charge, None)
        }
    }
}

/// Only what a processor says of the card is a refusal. Anything else may be a fault on the way.
fn of_status(status: StatusCode) -> Charge {
    match status.as_u16() {
        200..=299 => Charge::Charged,
        402 | 422 => Charge::Declined,
        _ => Charge::Pending,
    }
}

/// Whether an id can stand in a path as it is. Another one is as good as none.
fn is_segment(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    (1..=CHARGE_BYTES).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('.')
}

/// The token of a form: text of 1 to 200 bytes.
pub fn token(card: &Value) -> Result<&str, &'static str> {
    match card.as_str() {
        Some(token) if (1..=TOKEN_BYTES).contains(&token.len()) => Ok(token),
        Some(_) => Err("'card' is empty or longer than 200 bytes"),
        None => Err("'card' is not the token of a card, a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_processor_declines_and_only_its_success_charges() {
        for (status, charge) in [
            (200, Charge::Charged),
            (201, Charge::Charged),
            (402, Charge::Declined),
            (422, Charge::Declined),
            (401, Charge::Pending),
            (409, Charge::Pending),
            (429, Charge::Pending),
            (500, Charge::Pending),
            (302, Charge::Pending),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(of_status(status), charge, "{status}");
        }
    }

    #[test]
    fn charge_id_cannot_leave_its_segment() {
        for right in ["ch-1", "ch_3N.x~7", &"c".repeat(200)] {
            assert!(is_segment(right), "{right}");
        }
        for wrong in [
            "",
            "..",
            ".",
            "a/b",
            "a?b",
            "a b",
            "%2e",
            "ü",
            &"c".repeat(201),
        ] {
            assert!(!is_segment(wrong), "{wrong}");
        }
    }

    #[test]
    fn token_is_a_bounded_text() {
        assert_eq!(token(&json!("tok_visa")), Ok("tok_visa"));
        for wrong in [json!(""), json!(4242), json!(null), json!("t".repeat(201))] {
            assert!(token(&wrong).is_err(), "{wrong}");
        }
    }
}
