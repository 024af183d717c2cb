//! The payments window.
//!
//!     POST /payments          {"amount": 42, "purpose": "FOIA copy fee"}   ->  201 {"id"}
//!     GET  /payments/{id}     {"id", "amount", "purpose", "owner"}         its owner's only
//!     GET  /payments          {"payments": […], "next"}                    ?limit=&cursor=, the oldest first
//!
//! Each user has a separate part of the store, so another user's payment does not exist for them.

use hms_window::{Method, Problem, Request, Response, new_id, window};
use serde_json::{Map, Value, json};

/// Payments in one answer: what a client gets unasked, and the most it can ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::POST, ["payments"]) => take(&request).await,
        (&Method::GET, ["payments"]) => list(&request),
        (&Method::GET, ["payments", id]) => show(&request, id),
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
    let mut payment = Map::from_iter([("id".to_owned(), json!(id))]);
    payment.extend(form);
    // Last, because the form may hold such names too.
    payment.insert("id".to_owned(), json!(id));
    payment.insert("owner".to_owned(), json!(caller.user));
    caller.store("payments")?.set(&id, &payment)?;

    let location = request.public_path(&format!("/payments/{id}"));
    Ok(Response::json(201, &json!({ "id": id })).header("location", location))
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
