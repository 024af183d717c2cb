//! An event that the host delivers: a CloudEvent in an HTTP request, in binary or in structured
//! mode.

use crate::{Problem, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// The header by which the host marks a delivery. No client can send it.
const DELIVERY: &str = "x-hms-delivery";

/// The media type of an event in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// Bytes of the body of a delivery. 256 KiB: an event of the largest size in structured mode.
const BODY_LIMIT: usize = 256 << 10;

/// An event that the host has delivered to this window: see [`Request::event`].
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    data: Vec<u8>,
    delivery: Delivery,
}

/// What the host says of the delivery itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delivery {
    subscription: String,
    attempt: u32,
    round: u32,
}

impl Request {
    /// The event of this delivery. It reads the body.
    ///
    /// ```no_run
    /// # use hms_window::{Problem, Request, Response, Store, transaction};
    /// # #[derive(serde::Deserialize)]
    /// # struct Fee { amount: i64 }
    /// # async fn handle(request: Request) -> Result<Response, Problem> {
    /// let event = request.event().await?;
    /// let fee: Fee = event.json()?;
    /// let sums = Store::open("sums")?;
    /// transaction(|tx| {
    ///     tx.once(&event)?;                   // so that a second delivery changes nothing
    ///     tx.increment(&sums, "paid", fee.amount);
    ///     Ok(())
    /// })?;
    /// Ok(Response::empty(204))
    /// # }
    /// ```
    ///
    /// Answer with 2xx when it is done. The host tries again after 408, 409, 425, 429, 5xx and no
    /// answer, at the time of [`Problem::retry_after`] if there is one; any other 4xx, such as
    /// [`Problem::reject`], parks the event at once, for a person to look at.
    ///
    /// # Errors
    /// 403 if it is not a delivery of the host: a client has sent it. 400 if it is not a
    /// CloudEvent. 413 if it is too large.
    pub async fn event(&self) -> Result<ReceivedEvent, Problem> {
        let delivery = delivery(self.headers())?;
        let body = self.body().read_to_end(BODY_LIMIT).await?;
        received(delivery, self.headers(), body)
    }
}

impl ReceivedEvent {
    /// Its id: unlike that of any other event of the same source.
    pub fn id(&self) -> &str {
        self.attribute("id").unwrap_or_default()
    }

    /// Who has emitted it: `urn:hms:window:NAME`. The host vouches for it.
    pub fn source(&self) -> &str {
        self.attribute("source").unwrap_or_default()
    }

    /// Its type, such as `gov.payment.paid.v1`.
    pub fn kind(&self) -> &str {
        self.attribute("type").unwrap_or_default()
    }

    /// What it is about, if said.
    pub fn subject(&self) -> Option<&str> {
        self.attribute("subject")
    }

    /// When it was emitted (RFC 3339); of a timer, when it was due.
    pub fn time(&self) -> Option<&str> {
        self.attribute("time")
    }

    /// Its place among the events of its source: 1, 2, 3, without gaps. 0 if it has none.
    pub fn sequence(&self) -> u64 {
        let sequence = self.attribute("sequence");
        sequence.and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    /// Any attribute, by its name in CloudEvents, extensions included.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// The subscription of this window by which it came.
    pub fn subscription(&self) -> &str {
        &self.delivery.subscription
    }

    /// How often it was tried, this time included: 1 for the first.
    pub fn attempt(&self) -> u32 {
        self.delivery.attempt
    }

    /// 0, or the number of the replay that an operator has started. What is handled once
    /// ([`Transaction::once`](crate::Transaction::once)) is handled again in another round.
    pub fn replay_round(&self) -> u32 {
        self.delivery.round
    }

    /// The media type of the data, if there are any.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The data as they are.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The data as JSON, in the shape of `T`.
    ///
    /// # Errors
    /// 422 if they are not: the event is parked, since another try would fare no better.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.data).map_err(|cause| {
            Problem::reject(format!(
                "the data of the event are not as expected: {cause}"
            ))
        })
    }
}

/// `NAME-OF-SUBSCRIPTION; attempt=N; round=R`.
fn delivery(headers: &HeaderMap) -> Result<Delivery, Problem> {
    let mark = headers.get(DELIVERY).ok_or_else(|| {
        Problem::new(
            403,
            "not-a-delivery",
            "only the host delivers events here: subscribe to them instead",
        )
    })?;
    let broken = || Problem::bad_request(format!("the header '{DELIVERY}' is malformed"));
    let mut parts = mark
        .to_str()
        .map_err(|_| broken())?
        .split(';')
        .map(str::trim);
    let subscription = parts.next().filter(|name| !name.is_empty());
    let mut delivery = Delivery {
        subscription: subscription.ok_or_else(broken)?.to_owned(),
        attempt: 1,
        round: 0,
    };
    for part in parts {
        let number = |text: &str| text.parse().map_err(|_| broken());
        match part.split_once('=') {
            Some(("attempt", text)) => delivery.attempt = number(text)?,
            Some(("round", text)) => delivery.round = number(text)?,
            // A later host may say more.
            _ => {}
        }
    }
    Ok(delivery)
}

fn received(
    delivery: Delivery,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<ReceivedEvent, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map(text).transpose()?;
    let essence = content_type
        .as_deref()
        .unwrap_or_default()
        .split(';')
        .next();
    let is_structured = essence.is_some_and(|it| it.trim().eq_ignore_ascii_case(STRUCTURED));
    let event = match is_structured {
        true => structured(delivery, &body)?,
        false => binary(delivery, headers, content_type, body)?,
    };
    for name in ["id", "source", "type", "specversion"] {
        if event.attribute(name).is_none_or(str::is_empty) {
            return Err(Problem::bad_request(format!(
                "this is not a CloudEvent: '{name}' is missing"
            )));
        }
    }
    match event.attribute("specversion") {
        Some("1.0") => Ok(event),
        other => Err(Problem::bad_request(format!(
            "CloudEvents {:?} is not known here: only 1.0 is",
            other.unwrap_or_default()
        ))),
    }
}

/// Attributes in headers, data in the body.
fn binary(
    delivery: Delivery,
    headers: &HeaderMap,
    content_type: Option<String>,
    data: Vec<u8>,
) -> Result<ReceivedEvent, Problem> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            let value = percent_encoding::percent_decode(value.as_bytes());
            let value = value.decode_utf8().map_err(|_| {
                Problem::bad_request(format!("the header 'ce-{name}' is not UTF-8"))
            })?;
            attributes.insert(name.to_owned(), value.into_owned());
        }
    }
    Ok(ReceivedEvent {
        attributes,
        content_type,
        data,
        delivery,
    })
}

/// All in a JSON object.
fn structured(delivery: Delivery, body: &[u8]) -> Result<ReceivedEvent, Problem> {
    let malformed = |why: &str| Problem::bad_request(format!("the event is malformed: {why}"));
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Err(malformed("it is not a JSON object"));
    };
    let (mut data, mut encoded, mut content_type) = (None, None, None);
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("data", value) => data = Some(value),
            ("data_base64", Value::String(text)) => encoded = Some(text),
            ("datacontenttype", Value::String(text)) => content_type = Some(text),
            (_, Value::String(text)) => _ = attributes.insert(name, text),
            (_, value @ (Value::Bool(_) | Value::Number(_))) => {
                attributes.insert(name, value.to_string());
            }
            (_, Value::Array(_) | Value::Object(_)) => {
                return Err(malformed("an attribute is neither text nor a number"));
            }
        }
    }
    let data = match (data, encoded) {
        (_, Some(text)) => {
            let bytes = STANDARD.decode(text);
            bytes.map_err(|_| malformed("'data_base64' is not base64"))?
        }
        (Some(Value::String(text)), None) if !is_json(content_type.as_deref()) => text.into_bytes(),
        (Some(value), None) => value.to_string().into_bytes(),
        (None, None) => Vec::new(),
    };
    Ok(ReceivedEvent {
        attributes,
        content_type,
        data,
        delivery,
    })
}

/// Whether a member `data` is the data themselves, and not text that has them (CloudEvents, JSON
/// format, section 3.1).
fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype == "json" || subtype.ends_with("+json")
}

fn text(value: &HeaderValue) -> Result<String, Problem> {
    let text = value.to_str().map(str::to_owned);
    text.map_err(|_| Problem::bad_request("the content type is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnceKey;
    use http::HeaderName;
    use serde_json::json;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    fn event(pairs: &[(&'static str, &str)], body: &[u8]) -> Result<ReceivedEvent, Problem> {
        let headers = headers(pairs);
        received(delivery(&headers)?, &headers, body.to_vec())
    }

    const MARK: (&str, &str) = ("x-hms-delivery", "payments-paid; attempt=3; round=2");

    #[test]
    fn binary_event_has_all_that_the_host_says() {
        let pairs = [
            MARK,
            ("ce-specversion", "1.0"),
            ("ce-id", "00f-7"),
            ("ce-source", "urn:hms:window:payments"),
            ("ce-type", "gov.payment.paid.v1"),
            ("ce-subject", "M%C3%BCller%20%22x%22"),
            ("ce-time", "2026-11-27T03:21:38Z"),
            ("ce-sequence", "00000000000000000042"),
            ("content-type", "application/json"),
        ];
        let event = event(&pairs, b"{\"amount\":110}").unwrap();
        assert_eq!((event.id(), event.kind()), ("00f-7", "gov.payment.paid.v1"));
        assert_eq!(event.source(), "urn:hms:window:payments");
        assert_eq!(event.subject(), Some("Müller \"x\""));
        assert_eq!(event.time(), Some("2026-11-27T03:21:38Z"));
        assert_eq!(event.sequence(), 42);
        assert_eq!(event.subscription(), "payments-paid");
        assert_eq!((event.attempt(), event.replay_round()), (3, 2));
        assert_eq!(event.content_type(), Some("application/json"));
        assert_eq!(event.json::<Value>().unwrap(), json!({"amount": 110}));
        assert_eq!(event.json::<u32>().unwrap_err().status(), 422);
        assert_eq!(
            OnceKey::from(&event),
            OnceKey::from("event/payments-paid/2/urn:hms:window:payments/00f-7")
        );
    }

    fn in_json(change: impl FnOnce(&mut Value)) -> Result<ReceivedEvent, Problem> {
        let mut value = json!({
            "specversion": "1.0", "id": "1", "source": "s", "type": "t", "office": "north",
            "retries": 3, "subject": null,
        });
        change(&mut value);
        let content_type = (
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        );
        event(&[MARK, content_type], value.to_string().as_bytes())
    }

    #[test]
    fn structured_event_says_the_same() {
        let plain = in_json(|it| it["data"] = json!({"a": [1]})).unwrap();
        assert_eq!(
            (plain.id(), plain.kind(), plain.subject()),
            ("1", "t", None)
        );
        assert_eq!(plain.attribute("office"), Some("north"));
        assert_eq!(plain.attribute("retries"), Some("3"));
        assert_eq!(plain.json::<Value>().unwrap(), json!({"a": [1]}));
        let data = |media: &str, name: &str, value: &str| {
            let event = in_json(|it| {
                it["datacontenttype"] = media.into();
                it[name] = value.into();
            });
            event.unwrap().data().to_vec()
        };
        assert_eq!(data("text/plain", "data", "a"), b"a");
        assert_eq!(data("application/vnd.x+json", "data", "a"), b"\"a\"");
        assert_eq!(data("image/png", "data_base64", "AP8="), [0, 255]);
        assert!(in_json(|_| ()).unwrap().data().is_empty());
    }

    #[test]
    fn request_of_a_client_is_no_event() {
        let status = |outcome: Result<ReceivedEvent, Problem>| outcome.unwrap_err().status();
        assert_eq!(status(event(&[("ce-id", "1")], b"")), 403);
        for mark in ["", "; attempt=1", "a; attempt=x", "a; round=-1"] {
            assert_eq!(
                status(event(&[("x-hms-delivery", mark)], b"")),
                400,
                "{mark}"
            );
        }
        assert_eq!(status(event(&[MARK, ("ce-id", "1")], b"")), 400);
        assert_eq!(status(in_json(|it| it["specversion"] = "0.3".into())), 400);
        assert_eq!(status(in_json(|it| it["data_base64"] = "?".into())), 400);
        assert_eq!(status(in_json(|it| it["office"] = json!([]))), 400);
        assert_eq!(status(in_json(|it| *it = json!([]))), 400);
    }

    #[test]
    fn mark_of_a_later_host_is_understood() {
        let said = delivery(&headers(&[("x-hms-delivery", "a; batch=7")])).unwrap();
        assert_eq!(
            (said.subscription.as_str(), said.attempt, said.round),
            ("a", 1, 0)
        );
    }
}
