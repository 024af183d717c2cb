//! Giving a payment back, once: when its owner asks, or when what it was for is refused.

use crate::card::Processor;
use crate::payment::{self, Payment, State};
use hms_window::{Problem, Request, Response, Store, config, transaction};
use serde::Deserialize;
use serde_json::json;

/// What `gov.passport.refused.v1` and `gov.passport.fee-rejected.v1` say of a payment.
#[derive(Deserialize)]
struct Refusal {
    owner: String,
    /// Of the payment; none where nothing was paid.
    payment: Option<String>,
}

/// `POST /payments/{id}/refund`
pub async fn asked(request: &Request, id: &str) -> Result<Response, Problem> {
    let payments = request.caller()?.store("payments")?;
    let payment = refund(&payments, id, |_| Ok(())).await?;
    let answer = json!({ "id": id, "status": payment.get("status") });
    Ok(Response::json(200, &answer))
}

/// `POST /events`: a window has refused what was paid for. A second delivery finds it refunded.
pub async fn delivered(request: &Request) -> Result<Response, Problem> {
    let event = request.event().await?;
    let refusal: Refusal = event.json()?;
    let Some(id) = refusal.payment else {
        return Ok(Response::empty(204));
    };
    // A window gives back only what was paid to it, whatever its event says.
    let reference = reference_of(event.source(), event.subject());
    let payments = Store::open(&format!("payments/{}", refusal.owner))?;
    let admit = |payment: &Payment| match payment::reference(payment) == reference.as_deref() {
        true => Ok(()),
        false => Err(Problem::reject(format!(
            "the payment {id} was not for '{}'",
            reference.as_deref().unwrap_or_default()
        ))),
    };
    if let Some(payment) = payments.get::<Payment>(&id)?
        && payment::state(&payment) == State::Refunded
    {
        return Ok(Response::empty(204));
    }
    refund(&payments, &id, admit).await?;
    println!("payment {id}: refunded, because {} says so", event.source());
    Ok(Response::empty(204))
}

/// What a payment to the window `source` for `subject` has as its reference.
fn reference_of(source: &str, subject: Option<&str>) -> Option<String> {
    let window = source.strip_prefix("urn:hms:window:")?;
    Some(format!("{window}/{}", subject?))
}

/// Refunds a payment that `admit` has looked at. The processor is asked first, by a key that makes
/// it do so once; whatever is lost after that, asking again shows it.
async fn refund(
    payments: &Store,
    id: &str,
    admit: impl Fn(&Payment) -> Result<(), Problem>,
) -> Result<Payment, Problem> {
    let payment: Payment = payments.get(id)?.ok_or_else(Problem::not_found)?;
    admit(&payment)?;
    if let Some(charge) = charge_to_refund(&payment)? {
        let processor = Processor::configured().ok_or_else(|| {
            Problem::new(503, "no-card-processor", "no card processor is configured")
        })?;
        processor.refund(id, &charge).await?;
    }
    let done = transaction(|tx| {
        let mut payment: Payment = tx.get(payments, id)?.ok_or_else(Problem::not_found)?;
        charge_to_refund(&payment)?;
        payment.insert("status".to_owned(), json!("refunded"));
        tx.set(payments, id, &payment)?;
        tx.emit(payment::refunded(&payment, config("currency"))?)?;
        Ok(payment)
    })?;
    Ok(done.into_value()?)
}

/// The charge that the processor has to refund, if a card was charged.
fn charge_to_refund(payment: &Payment) -> Result<Option<String>, Problem> {
    let refused = |code, detail| Err(Problem::new(409, code, detail));
    match payment::state(payment) {
        State::Recorded => Ok(None),
        State::Charged(Some(charge)) => Ok(Some(charge)),
        State::Charged(None) => Err(Problem::new(
            422,
            "no-charge-id",
            "the card processor gave no id for this charge: refund it there",
        )),
        State::Refunded => refused("already-refunded", "this payment was refunded"),
        State::Pending => refused("not-paid", "the card processor has not answered: ask again"),
        State::Declined => refused("not-paid", "the card was declined: nothing was paid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn charge(kept: Value) -> Result<Option<String>, u16> {
        let payment = kept.as_object().unwrap().clone();
        charge_to_refund(&payment).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn only_paid_payments_are_refunded() {
        assert_eq!(charge(json!({ "amount": 1 })), Ok(None));
        let charged = json!({ "status": "charged", "charge": "ch-1" });
        assert_eq!(charge(charged), Ok(Some("ch-1".into())));
        for status in ["pending", "declined", "refunded"] {
            assert_eq!(charge(json!({ "status": status })), Err(409), "{status}");
        }
        assert_eq!(charge(json!({ "status": "charged" })), Err(422));
    }

    #[test]
    fn reference_names_the_window_and_its_subject() {
        let reference = reference_of("urn:hms:window:passports", Some("7"));
        assert_eq!(reference.as_deref(), Some("passports/7"));
        assert_eq!(reference_of("urn:hms:window:passports", None), None);
        assert_eq!(reference_of("https://elsewhere.example", Some("7")), None);
    }
}
