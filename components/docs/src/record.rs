//! What is known of a document, and how a stranger's file name and content type are made safe to repeat.

use hms_window::{HeaderValue, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The longest file name, in bytes: what file systems take, so that the file can be saved under it.
const NAME_MAX_BYTES: usize = 255;

/// The longest content type, in bytes. Real ones are under 100.
const CONTENT_TYPE_MAX_BYTES: usize = 255;

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
    /// In hexadecimal.
    pub sha256: String,
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
            "sha256": self.sha256,
        })
    }

    /// Strong: the same digest, the same bytes.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }

    /// `Content-Disposition` by RFC 6266: to be saved, never shown, under a name in plain ASCII and, for those who
    /// understand it, the true one.
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

/// The file name that a client sent, without its folders and without what is not seen but has an effect; or what is
/// wrong with it.
pub fn clean_name(sent: Option<&str>) -> Result<String, String> {
    let sent = sent.ok_or("the part 'file' has no file name")?;
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last
        .chars()
        .filter(|c| !c.is_control() && !turns_text(*c))
        .collect();
    match name.trim() {
        "" | "." | ".." => Err("the part 'file' has an empty file name".into()),
        name if name.len() > NAME_MAX_BYTES => Err(format!(
            "the file name is longer than {NAME_MAX_BYTES} bytes"
        )),
        name => Ok(name.to_owned()),
    }
}

/// Marks that turn the direction of text, by which `exe.jpg` can be made of `gpj.exe`.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The content type that a client sent, if it can stand in a header.
pub fn clean_content_type(sent: Option<&str>) -> String {
    let fits = |sent: &&str| {
        sent.len() <= CONTENT_TYPE_MAX_BYTES
            && sent.is_ascii()
            && HeaderValue::from_str(sent).is_ok()
    };
    sent.filter(fits)
        .unwrap_or("application/octet-stream")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disposition(name: &str) -> String {
        let (id, content_type, sha256) = Default::default();
        Record {
            id,
            name: name.to_owned(),
            content_type,
            size: 0,
            sha256,
        }
        .disposition()
    }

    #[test]
    fn a_name_is_given_back_in_both_forms() {
        assert_eq!(
            disposition("Zoë's photo (1).jpg"),
            "attachment; filename=\"Zo_'s photo (1).jpg\"; filename*=UTF-8''Zo%C3%AB%27s%20photo%20%281%29.jpg"
        );
    }

    #[test]
    fn no_name_breaks_out_of_its_header() {
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

    #[test]
    fn a_name_keeps_neither_folders_nor_what_is_not_seen() {
        let clean = |sent| clean_name(Some(sent));
        assert_eq!(clean("C:\\photos\\me.jpg"), Ok("me.jpg".into()));
        assert_eq!(clean("../../etc/passwd"), Ok("passwd".into()));
        assert_eq!(clean(" a\r\nb\u{202e}gpj.exe "), Ok("abgpj.exe".into()));
    }

    #[test]
    fn a_name_that_is_none_is_told() {
        assert!(clean_name(None).is_err_and(|why| why.contains("no file name")));
        for empty in ["", "..", "photos/", " \u{202e}"] {
            assert!(
                clean_name(Some(empty)).is_err_and(|why| why.contains("empty")),
                "{empty:?}"
            );
        }
        assert!(clean_name(Some(&"é".repeat(127))).is_ok());
        assert!(clean_name(Some(&"é".repeat(128))).is_err_and(|why| why.contains("255")));
    }

    #[test]
    fn a_content_type_that_no_header_takes_is_replaced() {
        assert_eq!(clean_content_type(Some("image/jpeg")), "image/jpeg");
        for wrong in [
            None,
            Some("a/b\r\nx: y"),
            Some("text/ü"),
            Some(&*"x".repeat(256)),
        ] {
            assert_eq!(clean_content_type(wrong), "application/octet-stream");
        }
    }
}
