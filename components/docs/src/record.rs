//! What is known of a document, and how a stranger's file name and content type are made safe to
//! repeat.

use hms_window::{Event, Request, TransactionError, Validators, id_time_ms};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What may stand as it is in an RFC 8187 value: `attr-char`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A document without its bytes.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub name: String,
    pub content_type: String,
    /// In bytes.
    pub size: u64,
    /// Somebody is removing it: for everybody else it is not there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

impl Record {
    /// Where the document is, as its client has to write it.
    pub fn url(&self, request: &Request) -> String {
        request.public_path(&format!("/docs/{}", self.id))
    }

    /// The record as its owner sees it.
    pub fn shown(&self, request: &Request) -> Value {
        json!({
            "id": self.id,
            "url": self.url(request),
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
        })
    }

    /// `gov.document.stored.v1`: the document is there.
    pub fn stored(&self, owner: &str) -> Result<Event, TransactionError> {
        self.event("gov.document.stored.v1", owner)
    }

    /// `gov.document.removed.v1`: it is not there any more.
    pub fn removed(&self, owner: &str) -> Result<Event, TransactionError> {
        self.event("gov.document.removed.v1", owner)
    }

    /// What is known of the document, and never its content.
    fn event(&self, kind: &str, owner: &str) -> Result<Event, TransactionError> {
        let data = json!({
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
            "owner": owner,
        });
        Ok(Event::new(kind, &data)?.subject(&*self.id))
    }

    /// A strong tag: a document never changes, and its id is never given again. The id has the time
    /// of its making as well.
    pub fn validators(&self) -> Validators {
        let tagged = Validators::new().strong_tag(&self.id);
        match id_time_ms(&self.id) {
            Some(ms) => tagged.last_modified_ms(ms),
            None => tagged,
        }
    }

    /// `Content-Disposition` by RFC 6266: to be saved, never shown, under a name in plain ASCII
    /// and, for those who understand it, the true one.
    pub fn disposition(&self) -> String {
        let plain = |c: char| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        };
        let fallback: String = self.name.chars().map(plain).collect();
        let name = utf8_percent_encode(&self.name, ENCODED);
        format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{name}")
    }
}

#[cfg(test)]
mod tests {
    use hms_window::HeaderValue;

    use super::*;

    fn disposition(name: &str) -> String {
        let (id, content_type) = Default::default();
        Record {
            id,
            name: name.to_owned(),
            content_type,
            size: 0,
            removed: false,
        }
        .disposition()
    }

    #[test]
    fn content_disposition_carries_plain_and_encoded_names() {
        assert_eq!(
            disposition("Zoë's photo (1).jpg"),
            "attachment; filename=\"Zo_'s photo (1).jpg\"; filename*=UTF-8''Zo%C3%AB%27s%20photo%20%281%29.jpg"
        );
    }

    #[test]
    fn removed_flag_is_stored_only_while_a_record_is_being_removed() {
        let kept = r#"{"id":"1","name":"a","content_type":"b","size":2}"#;
        let record: Record = serde_json::from_str(kept).unwrap();
        assert!(!record.removed);
        assert_eq!(serde_json::to_string(&record).unwrap(), kept);
    }

    #[test]
    fn event_has_the_metadata_and_the_owner() {
        let record = Record {
            id: "d-1".into(),
            name: "Zoë.jpg".into(),
            content_type: "image/jpeg".into(),
            size: 7,
            removed: true,
        };
        let data = json!({ "id": "d-1", "name": "Zoë.jpg", "content_type": "image/jpeg",
            "size": 7, "owner": "alice" });
        for (event, kind) in [
            (record.stored("alice"), "gov.document.stored.v1"),
            (record.removed("alice"), "gov.document.removed.v1"),
        ] {
            let expected = Event::new(kind, &data).unwrap().subject("d-1");
            assert_eq!(event.unwrap(), expected);
        }
    }

    #[test]
    fn file_name_cannot_break_out_of_its_header() {
        for name in [
            "a\"; filename=\"evil.exe",
            "a\\\"b",
            "a%22b",
            "a\r\nset-cookie: b",
            "\u{0}\u{7f}\u{2028}",
        ] {
            let header = disposition(name);
            assert!(HeaderValue::from_str(&header).is_ok(), "{header:?}");
            assert_eq!(header.matches('"').count(), 2, "{header}");
            assert!(!header.contains(['\\', '\r', '\n']), "{header}");
        }
    }
}
