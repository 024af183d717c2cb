//! A message, and what becomes of it.

use crate::news::News;
use hms_window::{new_id, now_ms};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Characters of a text: ten parts of a long message, as networks pass it on.
const TEXT_CHARS: usize = 1600;

/// Bytes of a reference: an id, or a short note.
const REFERENCE_BYTES: usize = 200;

/// What a client asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// In the form of E.164: `+` and the digits.
    pub to: String,
    pub text: String,
    /// What it is about, for the client's own use.
    pub reference: Option<String>,
}

impl Order {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !is_phone_number(&self.to) {
            return Err("'to' is not a phone number such as +15550100".into());
        }
        match self.text.chars().count() {
            0 => return Err("'text' is empty".into()),
            1..=TEXT_CHARS => {}
            _ => return Err(format!("'text' has more than {TEXT_CHARS} characters")),
        }
        match &self.reference {
            Some(reference) if reference.len() > REFERENCE_BYTES => {
                Err(format!("'reference' has more than {REFERENCE_BYTES} bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// ITU-T E.164: at most 15 digits, and no country code begins with 0.
pub fn is_phone_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Kept, and not tried to its end.
    Queued,
    /// The gateway has it.
    Sent,
    /// Every try failed.
    Failed,
    /// It is to be read here, and goes nowhere.
    InApp,
}

impl FromStr for Status {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "queued" => Ok(Status::Queued),
            "sent" => Ok(Status::Sent),
            "failed" => Ok(Status::Failed),
            "in-app" => Ok(Status::InApp),
            _ => Err("it is one of queued, sent, failed, in-app"),
        }
    }
}

/// A message as it is kept and shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    /// None: it is not a text message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The id of the event that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    pub owner: String,
    pub status: Status,
    /// How often it was given to the gateway.
    pub tries: u32,
    /// The id that the gateway has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the status last changed, in milliseconds since 1970.
    pub updated: u64,
}

/// What came of giving a message to the gateway.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub tries: u32,
    /// The id that the gateway gave, or a sentence for the client.
    pub result: Result<Option<String>, &'static str>,
    /// It failed, another try may do, and is made: the message stays queued.
    pub again: bool,
}

impl Message {
    pub fn new(order: Order, owner: &str) -> Self {
        Message {
            id: new_id(),
            to: Some(order.to),
            text: order.text,
            reference: order.reference,
            event: None,
            owner: owner.to_owned(),
            status: Status::Queued,
            tries: 0,
            gateway_id: None,
            error: None,
            updated: now_ms(),
        }
    }

    /// What the event with the id `event` says to a citizen: to their phone, or here.
    pub fn of_news(news: News, event: &str) -> Self {
        let status = match news.phone {
            Some(_) => Status::Queued,
            None => Status::InApp,
        };
        Message {
            id: new_id(),
            to: news.phone,
            text: news.text,
            reference: Some(news.reference),
            event: Some(event.to_owned()),
            owner: news.owner,
            status,
            tries: 0,
            gateway_id: None,
            error: None,
            updated: now_ms(),
        }
    }

    /// Under which the gateway sends it once, however often it is given it. That of an event is the
    /// event's, so that a replay sends nothing again.
    pub fn idempotency_key(&self) -> &str {
        self.event.as_deref().unwrap_or(&self.id)
    }

    /// The message after `outcome`, at `now_ms`.
    pub fn after(self, outcome: &Outcome, now_ms: u64) -> Self {
        let tries = self.tries.saturating_add(outcome.tries);
        let tried = Message {
            tries,
            updated: now_ms,
            ..self
        };
        match &outcome.result {
            Ok(gateway_id) => Message {
                status: Status::Sent,
                gateway_id: gateway_id.clone().or(tried.gateway_id),
                error: None,
                ..tried
            },
            // Another request was faster, and the gateway has it.
            Err(_) if tried.status == Status::Sent => tried,
            Err(why) => Message {
                status: match outcome.again {
                    true => Status::Queued,
                    false => Status::Failed,
                },
                error: Some((*why).to_owned()),
                ..tried
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(to: &str, text: &str) -> Result<(), String> {
        let (to, text, reference) = (to.to_owned(), text.to_owned(), None);
        Order {
            to,
            text,
            reference,
        }
        .check()
    }

    fn message() -> Message {
        let kept = r#"{"id":"1","to":"+15550100","text":"a","owner":"alice","status":"queued",
                       "tries":0,"updated":1}"#;
        serde_json::from_str(kept).unwrap()
    }

    #[test]
    fn message_needs_a_phone_number_and_a_text() {
        assert_eq!(order("+15550100", "hello"), Ok(()));
        assert_eq!(order("+4930123456789", &"ü".repeat(1600)), Ok(()));
        for to in [
            "",
            "5550100",
            "+",
            "+0555010000",
            "+1555 0100",
            "+1234567890123456",
            "+1555010٠",
        ] {
            assert!(
                order(to, "a").is_err_and(|why| why.contains("'to'")),
                "{to}"
            );
        }
        assert!(order("+15550100", "").is_err());
        assert!(order("+15550100", &"a".repeat(1601)).is_err_and(|why| why.contains("1600")));
    }

    #[test]
    fn key_of_an_event_is_the_events() {
        let mut message = message();
        assert_eq!(message.idempotency_key(), "1");
        message.event = Some("00f-7".into());
        assert_eq!(message.idempotency_key(), "00f-7");
    }

    #[test]
    fn status_is_read_as_it_is_written() {
        for status in [Status::Queued, Status::Sent, Status::Failed, Status::InApp] {
            let written = serde_json::to_value(status).unwrap();
            assert_eq!(written.as_str().unwrap().parse(), Ok(status));
        }
    }

    #[test]
    fn reference_is_bounded() {
        let order = |length| Order {
            to: "+15550100".into(),
            text: "a".into(),
            reference: Some("r".repeat(length)),
        };
        assert_eq!(order(200).check(), Ok(()));
        assert!(order(201).check().is_err());
    }

    #[test]
    fn tries_are_counted_over_all_requests() {
        let mut failed = Outcome {
            tries: 3,
            result: Err("no answer"),
            again: false,
        };
        let message = message().after(&failed, 2);
        assert_eq!((message.status, message.tries), (Status::Failed, 3));
        assert_eq!(message.error.as_deref(), Some("no answer"));
        failed.again = true;
        let message = message.after(&failed, 2);
        assert_eq!((message.status, message.tries), (Status::Queued, 6));
        let sent = Outcome {
            tries: 1,
            result: Ok(Some("sms-7".into())),
            again: false,
        };
        let message = message.after(&sent, 3);
        assert_eq!((message.status, message.tries), (Status::Sent, 7));
        assert_eq!(message.gateway_id.as_deref(), Some("sms-7"));
        assert_eq!((message.error, message.updated), (None, 3));
    }

    #[test]
    fn sent_message_is_not_failed_by_a_slower_request() {
        let sent = message().after(
            &Outcome {
                tries: 1,
                result: Ok(None),
                again: false,
            },
            2,
        );
        let late = Outcome {
            tries: 1,
            result: Err("no answer"),
            again: true,
        };
        let message = sent.after(&late, 3);
        assert_eq!((message.status, message.error), (Status::Sent, None));
    }
}
