//! The stored form of a key: a JSON line, then the bytes of the answer's body.

use super::key::Digest;
use bytes::Bytes;
use hms_core::body::Body;
use hms_core::error::RequestError;
use http::header::{self, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// [`super::key::fingerprint`] of the first request, in hex.
    pub fingerprint: String,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: u64,
    pub state: State,
}

/// The outcome of the first request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// It is in flight, or was when the host ended.
    Begun,
    Answered(StoredAnswer),
    /// Its answer exceeded the limit.
    NotKept,
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredAnswer {
    pub status: StatusCode,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Line {
    fingerprint: String,
    expires_ms: u64,
    state: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Each byte of a value as the character of its number: values need not be UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Begun,
    Answered,
    NotKept,
}

impl Record {
    pub(super) fn new(fingerprint: Digest, expires_ms: u64, state: State) -> Self {
        Record {
            fingerprint: fingerprint.hex(),
            expires_ms,
            state,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (state, kept) = match &self.state {
            State::Begun => (Word::Begun, None),
            State::Answered(kept) => (Word::Answered, Some(kept)),
            State::NotKept => (Word::NotKept, None),
        };
        let field = |(name, value): &(HeaderName, HeaderValue)| {
            let value = value.as_bytes().iter().map(|byte| char::from(*byte));
            (name.to_string(), value.collect())
        };
        let line = Line {
            fingerprint: self.fingerprint.clone(),
            expires_ms: self.expires_ms,
            state,
            status: kept.map(|kept| kept.status.as_u16()),
            fields: kept.map_or_else(Vec::new, |kept| kept.fields.iter().map(field).collect()),
        };
        // Strings and numbers always serialise, and JSON contains no raw line break.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        if let Some(kept) = kept {
            bytes.extend_from_slice(&kept.body);
        }
        bytes
    }

    /// None if [`Record::encode`] did not write these bytes.
    pub(super) fn decode(bytes: Vec<u8>) -> Option<Record> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line: Line = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let state = match line.state {
            Word::Begun => State::Begun,
            Word::NotKept => State::NotKept,
            Word::Answered => State::Answered(StoredAnswer {
                status: StatusCode::from_u16(line.status?).ok()?,
                fields: line.fields.iter().map(field).collect::<Option<_>>()?,
                body: Bytes::from(bytes).slice(end + 1..),
            }),
        };
        Some(Record {
            fingerprint: line.fingerprint,
            expires_ms: line.expires_ms,
            state,
        })
    }
}

fn field((name, value): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    let bytes: Vec<u8> = value
        .chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect::<Option<_>>()?;
    Some((
        HeaderName::try_from(name).ok()?,
        HeaderValue::from_bytes(&bytes).ok()?,
    ))
}

impl StoredAnswer {
    /// From an upstream's answer. Its length is that of the body, whatever the answer said.
    pub(super) fn new(mut head: Parts, body: Bytes) -> Self {
        crate::request::headers::drop_hop_by_hop(&mut head.headers);
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::TRAILER);
        let fields = head.headers.iter();
        StoredAnswer {
            status: head.status,
            fields: fields.map(|(n, v)| (n.clone(), v.clone())).collect(),
            body,
        }
    }

    /// From a failure, as its client sees it.
    pub(super) fn problem(error: &RequestError, request_id: &str) -> Self {
        let (head, body) = error.answer(Some(request_id)).into_parts();
        StoredAnswer::new(head, body.into())
    }

    /// The answer with `body`.
    pub(super) fn response(self, body: impl FnOnce(Bytes) -> Body) -> Response<Body> {
        let mut response = Response::new(body(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.fields {
            response.headers_mut().append(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::fingerprint;
    use super::*;
    use proptest::prelude::*;

    fn answered(body: &[u8]) -> Record {
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let kept = StoredAnswer {
            status: StatusCode::CREATED,
            fields: vec![
                (header::SET_COOKIE, HeaderValue::from_static("a=1")),
                (header::SET_COOKIE, value),
            ],
            body: Bytes::copy_from_slice(body),
        };
        Record::new(
            fingerprint("POST", ("/", None), b"", b""),
            7,
            State::Answered(kept),
        )
    }

    #[test]
    fn record_decodes_what_it_encodes() {
        for body in [b"".as_slice(), b"\n\n{}\n", &[0, 255, 10, 13]] {
            let record = answered(body);
            assert_eq!(Record::decode(record.encode()), Some(record));
        }
        for state in [State::Begun, State::NotKept] {
            let record = Record::new(fingerprint("PATCH", ("/", None), b"", b""), u64::MAX, state);
            assert_eq!(Record::decode(record.encode()), Some(record));
        }
    }

    proptest! {
        #[test]
        fn record_decoder_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..200_usize) {
            let _ = Record::decode(bytes);
            let mut whole = answered(b"body").encode();
            whole.truncate(cut);
            let _ = Record::decode(whole);
        }
    }
}
