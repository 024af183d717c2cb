//! The call of the SMS gateway: `POST {sms-url}/v1/messages` with `{"to", "text", "from"}`.

use crate::message::{Message, Outcome};
use hms_window::{
    FetchErrorKind, Problem, Request, Response, StatusCode, Timeouts, config, fetch, sleep_ms,
};
use serde::Deserialize;
use serde_json::json;

/// Tries of a client's request. What fails three times is down, and the client should not wait for
/// it.
pub const TRIES: u32 = 3;

/// The wait before the second try, in milliseconds; twice that before the third.
const PAUSE_MS: u64 = 200;

/// Three tries that take all of it fit into the 30 s that a window has to answer by default.
const TIMEOUTS: fn() -> Timeouts = || {
    Timeouts::new()
        .connect_ms(2_000)
        .first_byte_ms(5_000)
        .between_bytes_ms(2_000)
};

const UNAVAILABLE: &str = "the SMS gateway is not available now";

/// Where messages are sent to.
pub struct Gateway {
    url: String,
    /// Whom the text is from, where the gateway is told.
    from: Option<String>,
}

/// What the gateway says of a message that it has taken.
#[derive(Deserialize)]
struct Receipt {
    id: Option<String>,
}

/// What a try has shown.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// With the gateway's id.
    Sent(Option<String>),
    /// Another try may do.
    Again(&'static str),
    /// Another try would be the same.
    Never(&'static str),
}

impl Gateway {
    /// The one that the operator has set by `sms-url`, if any.
    pub fn configured() -> Option<Self> {
        let url = config("sms-url").filter(|url| !url.is_empty())?;
        Some(Gateway {
            url: format!("{}/v1/messages", url.trim_end_matches('/')),
            from: config("sms-from"),
        })
    }

    /// Gives it the message, up to `most` times if need be. [`Outcome::again`] says whether one
    /// more may do.
    pub async fn deliver(&self, message: &Message, most: u32) -> Result<Outcome, Problem> {
        let mut tries = 0;
        loop {
            tries += 1;
            let verdict = match fetch(self.request(message)?).await {
                Ok(answer) => of_answer(message, answer).await,
                Err(error) => {
                    eprintln!("message {}: {error}", message.id);
                    of_error(error.kind())
                }
            };
            let (result, again) = match verdict {
                Verdict::Sent(gateway_id) => (Ok(gateway_id), false),
                Verdict::Again(_) if tries < most => {
                    sleep_ms(PAUSE_MS << (tries - 1)).await;
                    continue;
                }
                Verdict::Again(why) => (Err(why), true),
                Verdict::Never(why) => (Err(why), false),
            };
            return Ok(Outcome {
                tries,
                result,
                again,
            });
        }
    }

    fn request(&self, message: &Message) -> Result<Request, Problem> {
        let mut text = json!({ "to": message.to, "text": message.text });
        if let Some(from) = &self.from {
            text["from"] = json!(from);
        }
        Request::post(&self.url)
            .with_json(&text)
            .with_timeouts(TIMEOUTS())
            // The same for every try, so that the gateway sends it once.
            .with_header("idempotency-key", message.idempotency_key())
    }
}

async fn of_answer(message: &Message, answer: Response) -> Verdict {
    let status = answer.status();
    if !status.is_success() {
        eprintln!("message {}: the SMS gateway answered {status}", message.id);
        return of_status(status);
    }
    // It is taken, whatever else the answer says.
    match answer.read_json::<Receipt>().await {
        Ok(receipt) => Verdict::Sent(receipt.id),
        Err(error) => {
            eprintln!("message {}: sent, but {error}", message.id);
            Verdict::Sent(None)
        }
    }
}

/// Of a status that is no success.
fn of_status(status: StatusCode) -> Verdict {
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => Verdict::Again(UNAVAILABLE),
        401 | 403 => Verdict::Never("the SMS gateway does not accept this service's key"),
        _ => Verdict::Never("the SMS gateway rejects this message"),
    }
}

fn of_error(kind: FetchErrorKind) -> Verdict {
    match kind {
        FetchErrorKind::Denied => Verdict::Never("this service may not call the SMS gateway"),
        FetchErrorKind::Invalid | FetchErrorKind::Loop | FetchErrorKind::Tls => {
            Verdict::Never("the SMS gateway is configured wrongly")
        }
        _ => Verdict::Again(UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_that_can_pass_are_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(of_status(status), Verdict::Again(UNAVAILABLE), "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 409, 422] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(matches!(of_status(status), Verdict::Never(_)), "{status}");
        }
        for kind in [
            FetchErrorKind::Timeout,
            FetchErrorKind::Refused,
            FetchErrorKind::Unavailable,
            FetchErrorKind::Broken,
            FetchErrorKind::Limit,
        ] {
            assert_eq!(of_error(kind), Verdict::Again(UNAVAILABLE), "{kind:?}");
        }
        for kind in [FetchErrorKind::Denied, FetchErrorKind::Invalid] {
            assert!(matches!(of_error(kind), Verdict::Never(_)), "{kind:?}");
        }
    }

    #[test]
    fn receipt_without_an_id_is_a_receipt() {
        let receipt: Receipt = serde_json::from_str("{\"status\":\"accepted\"}").unwrap();
        assert_eq!(receipt.id, None);
    }
}
