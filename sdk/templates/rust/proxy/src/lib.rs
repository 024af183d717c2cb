//! The window {{name}}: it asks a service for exchange rates, and keeps each for a minute.
//!
//!     GET /{{name}}              {"rates": […]}, those that it has asked for
//!     GET /{{name}}/{currency}   {"currency", "rate", "at"}
//!
//! Which service is said in windows/{{name}}.yaml, twice: as `rates-url`, which this code reads,
//! and as what the window may call.

use hms_window::{
    FetchErrorKind, Method, Problem, Request, Response, Store, Timeouts, config, fetch, now_ms,
    window,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How long a rate is good, in milliseconds.
const FRESH_MS: u64 = 60_000;

/// Rates in the list: there are not as many currencies.
const MOST: usize = 500;

#[derive(Serialize, Deserialize)]
struct Rate {
    currency: String,
    rate: f64,
    /// When it was asked for: milliseconds since 1970.
    at: u64,
}

/// What the service answers.
#[derive(Deserialize)]
struct Quote {
    rate: f64,
}

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    match (request.method(), &*request.segments()) {
        (&Method::GET, ["{{name}}"]) => list(),
        (&Method::GET, ["{{name}}", currency]) => show(currency).await,
        (_, ["{{name}}"] | ["{{name}}", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
        _ => Err(Problem::not_found()),
    }
}

fn list() -> Result<Response, Problem> {
    let rates = Store::open("rates")?;
    let found: Vec<Option<Rate>> = rates.get_many(&rates.page(None, MOST)?.keys)?;
    let found: Vec<Rate> = found.into_iter().flatten().collect();
    Ok(Response::json(200, &json!({ "rates": found })))
}

async fn show(currency: &str) -> Result<Response, Problem> {
    if !is_currency(currency) {
        return Err(Problem::bad_request(
            "a currency has three capital letters, such as CHF",
        ));
    }
    let rates = Store::open("rates")?;
    let known: Option<Rate> = rates.get(currency)?;
    if let Some(rate) = known.filter(|rate| rate.at + FRESH_MS > now_ms()) {
        return Ok(Response::json(200, &rate));
    }
    let rate = Rate {
        currency: currency.to_owned(),
        rate: ask(currency).await?,
        at: now_ms(),
    };
    rates.set(currency, &rate)?;
    Ok(Response::json(200, &rate))
}

async fn ask(currency: &str) -> Result<f64, Problem> {
    let unset = || Problem::internal("no rates-url is configured: see windows/{{name}}.yaml");
    let url = config("rates-url").ok_or_else(unset)?;
    let request = Request::get(&format!("{url}/v1/rates/{currency}"))
        .with_timeouts(Timeouts::new().connect_ms(1_000).first_byte_ms(3_000));
    let answer = match fetch(request).await {
        Ok(answer) => answer,
        // The log has where it went, and of a denied call what to grant. The client needs neither.
        Err(error) => {
            eprintln!("rates: {error}");
            return Err(match error.kind() {
                FetchErrorKind::Timeout => Problem::new(504, "rates-slow", "try again later"),
                _ => error.into(),
            });
        }
    };
    match answer.status().as_u16() {
        200 => Ok(answer.read_json::<Quote>().await?.rate),
        404 => Err(Problem::not_found()),
        status => {
            eprintln!("rates: the service answered {status}");
            Err(Problem::new(
                502,
                "rates-unavailable",
                "the rates are not available now",
            ))
        }
    }
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::is_currency;

    #[test]
    fn currency_has_three_capital_letters() {
        assert!(is_currency("CHF"));
        assert!(!is_currency("chf") && !is_currency("CH") && !is_currency("../x"));
    }
}
