//! The payments window.
//!
//!     POST /payments          {"amount": 42, "purpose": "FOIA copy fee"}   ->  201 {"id"}
//!     GET  /payments/{id}     {"id", "amount", "purpose", "owner"}         its owner's only
//!     GET  /payments          {"payments": […], "next"}       ?limit=&cursor=, the oldest first
//!
//! Each user has a separate part of the store, so another user's payment does not exist for them.
//!
//! Where the operator has set a card processor (`card`), a payment with the token of a card is
//! charged, and has a status:
//!
//!     POST /payments               {"amount": 42, "card": "tok_…"}   ->  201 {"id", "status"}
//!     POST /payments/{id}/charge   {"card": "tok_…"}    asks again about a pending one
//!
//! 402 says that the card was declined, 202 that the processor has not answered.
//!
//! The payment is written together with the event that tells of it, `gov.payment.paid.v1`; one by
//! card, when it is charged. What it says is in `payment`. A payment is given back once, by
//! `refund`, which emits `gov.payment.refunded.v1`:
//!
//!     POST /payments/{id}/refund   ->  200 {"id", "status": "refunded"}      its owner's only
//!     POST /events                 what another window has refused to its payer

mod card;
mod payment;
mod refund;

use card::{Charge, Processor};
use hms_window::{Method, Problem, Request, Response, Store, config, new_id, transaction, window};
use payment::{Payment, State};
use serde_json::{Value, json};

/// Payments in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["payments"]) => take(&request).await,
        (&Method::GET, ["payments"]) => list(&request),
        (&Method::GET, ["payments", id]) => show(&request, id),
        (method, ["payments", id, "charge"]) if Processor::configured().is_some() => {
            match *method {
                Method::POST => charge_again(&request, id).await,
                _ => Err(Problem::method_not_allowed("POST")),
            }
        }
        (&Method::POST, ["payments", id, "refund"]) => refund::asked(&request, id).await,
        (&Method::POST, ["events"]) => refund::delivered(&request).await,
        (_, ["payments", _, "refund"] | ["events"]) => Err(Problem::method_not_allowed("POST")),
        (_, ["payments"]) => Err(Problem::method_not_allowed("GET, HEAD, POST")),
        (_, ["payments", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}

async fn take(request: &Request) -> Result<Response, Problem> {
    let caller = request.caller()?;
    let Value::Object(form) = request.json().await? else {
        return Err(Problem::bad_request("the body is not a JSON object"));
    };
    check_amount(form.get("amount")).map_err(Problem::bad_request)?;

    let id = new_id();
    let mut payment = payment::new(&id, &caller.user, form)?;
    let payments = caller.store("payments")?;
    let processor = match payment.contains_key("card") {
        true => Processor::configured(),
        false => None,
    };
    if let Some(processor) = processor {
        // Used once, and not kept.
        let card = payment.shift_remove("card").unwrap_or_default();
        let token = card::token(&card).map_err(Problem::bad_request)?;
        payment.insert("status".to_owned(), json!(Charge::Pending.word()));
        payments.set(&id, &payment)?;
        return charge(request, &processor, &payments, &payment, &id, token).await;
    }
    let currency = config("currency");
    transaction(|tx| {
        tx.set(&payments, &id, &payment)?;
        tx.emit(payment::paid(&payment, currency.clone())?)
    })?;

    let location = request.public_path(&format!("/payments/{id}"));
    Ok(Response::json(201, &json!({ "id": id })).header("location", location))
}

/// Has the processor charge a payment that is kept as pending, and answers with what came of it.
async fn charge(
    request: &Request,
    processor: &Processor,
    payments: &Store,
    payment: &Payment,
    id: &str,
    token: &str,
) -> Result<Response, Problem> {
    let amount = payment.get("amount").cloned().unwrap_or_default();
    let (charge, charge_id) = processor.charge(id, &amount, token).await?;
    settle(payments, id, charge, charge_id.as_deref())?;
    let location = request.public_path(&format!("/payments/{id}"));
    let status = match charge {
        Charge::Charged => 201,
        Charge::Pending => 202,
        Charge::Declined => {
            let problem = Problem::new(402, "card-declined", "the card was declined");
            return Err(problem.header("location", location));
        }
    };
    let answer = json!({ "id": id, "status": charge.word() });
    Ok(Response::json(status, &answer).header("location", location))
}

/// Keeps what the processor said. Of two requests that ask about the same payment, one does.
fn settle(
    payments: &Store,
    id: &str,
    charge: Charge,
    charge_id: Option<&str>,
) -> Result<(), Problem> {
    if charge == Charge::Pending {
        return Ok(());
    }
    let currency = config("currency");
    transaction(|tx| {
        let mut payment: Payment = tx.get(payments, id)?.ok_or_else(Problem::not_found)?;
        if payment::state(&payment) != State::Pending {
            return Ok(());
        }
        payment.insert("status".to_owned(), json!(charge.word()));
        if let Some(charge_id) = charge_id {
            payment.insert("charge".to_owned(), json!(charge_id));
        }
        tx.set(payments, id, &payment)?;
        match charge {
            Charge::Charged => tx.emit(payment::paid(&payment, currency.clone())?),
            Charge::Declined | Charge::Pending => Ok(()),
        }
    })?;
    Ok(())
}

/// Asks the processor about a pending payment. It has the same key as before, so a card that was
/// charged is not charged again.
async fn charge_again(request: &Request, id: &str) -> Result<Response, Problem> {
    let payments = request.caller()?.store("payments")?;
    let payment: Payment = payments.get(id)?.ok_or_else(Problem::not_found)?;
    if payment::state(&payment) != State::Pending {
        let detail = "only a pending payment can be charged again";
        return Err(Problem::new(409, "not-pending", detail));
    }
    let form: Value = request.json().await?;
    let card = form.get("card").unwrap_or(&Value::Null);
    let token = card::token(card).map_err(Problem::bad_request)?;
    let processor = Processor::configured().ok_or_else(Problem::not_found)?;
    charge(request, &processor, &payments, &payment, id, token).await
}

fn show(request: &Request, id: &str) -> Result<Response, Problem> {
    let payments = request.caller()?.store("payments")?;
    let payment: Value = payments.get(id)?.ok_or_else(Problem::not_found)?;
    Ok(Response::json(200, &payment))
}

fn list(request: &Request) -> Result<Response, Problem> {
    let payments = request.caller()?.store("payments")?;
    let limit = request.param("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = payments.page(request.param::<String>("cursor")?.as_deref(), limit)?;
    let found: Vec<Option<Value>> = payments.get_many(&page.keys)?;
    let found: Vec<Value> = found.into_iter().flatten().collect();
    Ok(Response::json(
        200,
        &json!({ "payments": found, "next": page.next }),
    ))
}

/// A payment needs an amount that is a number, finite and not negative.
fn check_amount(amount: Option<&Value>) -> Result<(), &'static str> {
    match amount {
        None => Err("'amount' is missing"),
        Some(Value::Number(number)) => match number.as_f64().filter(|amount| amount.is_finite()) {
            None => Err("'amount' is too large"),
            Some(amount) if amount < 0.0 => Err("'amount' is negative"),
            Some(_) => Ok(()),
        },
        Some(_) => Err("'amount' is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_amount;

    fn fault(amount: &str) -> Option<&'static str> {
        check_amount(Some(&serde_json::from_str(amount).unwrap())).err()
    }

    #[test]
    fn amount_must_be_a_finite_non_negative_number() {
        for right in ["0", "42", "0.10", "12345678901234567890.12", "1e3"] {
            assert_eq!(fault(right), None, "{right}");
        }
        for (wrong, why) in [
            ("-1", "negative"),
            ("-1e-300", "negative"),
            ("1e999", "too large"),
            ("\"42\"", "not a number"),
            ("null", "not a number"),
            ("true", "not a number"),
        ] {
            assert!(
                fault(wrong).is_some_and(|fault| fault.contains(why)),
                "{wrong}: {:?}",
                fault(wrong)
            );
        }
        assert!(check_amount(None).is_err_and(|fault| fault.contains("missing")));
    }

    #[test]
    fn amount_keeps_its_digits() {
        let sent = r#"{"purpose":"fee","amount":12345678901234567890.10}"#;
        let kept: serde_json::Map<_, _> = serde_json::from_str(sent).unwrap();
        assert_eq!(serde_json::to_string(&kept).unwrap(), sent);
    }
}
