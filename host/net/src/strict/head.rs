//! The head of one HTTP/1 request, read as RFC 9112 has it and in no other way.
//!
//! Where the RFC leaves a choice between repairing and refusing, it is refused: what one reader
//! repairs the next may read differently, and then two of them see two requests where there was
//! one.

use http::Method;
use memchr::{memchr, memchr2};

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    /// So many bytes.
    Length(u64),
    Chunked,
}

/// Why a request is refused before it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule the head breaks.
    pub kind: Kind,
    /// The method, where it could be read: for the log.
    pub method: Method,
}

/// Which rule a head breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With what is wrong, and where that is said.
    Syntax(&'static str),
    /// More fields than allowed.
    TooManyFields,
    /// More bytes than allowed.
    TooLarge,
    /// It was not whole in its time.
    TooSlow,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
}

/// Reads a head with its empty line at the end.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn read(head: &[u8], max_fields: usize) -> Result<Framing, Violation> {
    let mut method = unknown();
    framing(head, max_fields, &mut method).map_err(|kind| Violation { kind, method })
}

/// In the log of a request whose method could not be read.
pub(super) fn unknown() -> Method {
    Method::from_bytes(b"INVALID").unwrap_or_default()
}

fn framing(head: &[u8], max_fields: usize, method: &mut Method) -> Result<Framing, Kind> {
    let mut lines = Lines(head);
    let first = lines.next().ok_or(Kind::Syntax("the request is empty"))??;
    let old = request_line(first, method)?;
    let (mut length, mut chunked, mut fields) = (None, false, 0);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > max_fields {
            return Err(Kind::TooManyFields);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = decimal(value).ok_or(Kind::Syntax(
                "Content-Length is not one decimal number (RFC 9112 section 6.3)",
            ))?;
            if length.replace(value).is_some() {
                return Err(Kind::Syntax(
                    "the request has more than one Content-Length (RFC 9112 section 6.3)",
                ));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Kind::Syntax(
                    "Transfer-Encoding must be 'chunked', exactly once (RFC 9112 section 6.1)",
                ));
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"expect")
            && !value.eq_ignore_ascii_case(b"100-continue")
        {
            return Err(Kind::Expectation);
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Kind::Syntax(
            "the request has both Content-Length and Transfer-Encoding (RFC 9112 section 6.1)",
        )),
        (true, None) if old => Err(Kind::Syntax(
            "HTTP/1.0 does not allow Transfer-Encoding (RFC 9112 section 6.1)",
        )),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(0) | None) => Ok(Framing::Nothing),
        (false, Some(length)) => Ok(Framing::Length(length)),
    }
}

/// Whether the version is 1.0.
fn request_line(line: &[u8], method: &mut Method) -> Result<bool, Kind> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(name), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Kind::Syntax(
            "the request line is not a method, a target and a version separated by single spaces (RFC 9112 section 3)",
        ));
    };
    if name.is_empty() || !is_all(name, &TOKEN) {
        return Err(Kind::Syntax(
            "the method is not a token (RFC 9110 section 9.1)",
        ));
    }
    if let Ok(name) = Method::from_bytes(name) {
        *method = name;
    }
    if target.is_empty() || !is_all(target, &VISIBLE) {
        return Err(Kind::Syntax(
            "the request target has a byte that must be percent-encoded (RFC 9112 section 3.2)",
        ));
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(Kind::Syntax(
            "the version is neither HTTP/1.1 nor HTTP/1.0 (RFC 9112 section 2.3)",
        )),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Kind> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Kind::Syntax(
            "a field is folded over several lines (RFC 9112 section 5.2)",
        ));
    }
    let Some((name, value)) =
        memchr(b':', line).and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?)))
    else {
        return Err(Kind::Syntax("a field has no colon (RFC 9112 section 5)"));
    };
    if name.is_empty() || !is_all(name, &TOKEN) {
        // A space before the colon among them (section 5.1).
        return Err(Kind::Syntax(
            "a field name is not a token (RFC 9112 section 5.1)",
        ));
    }
    if !is_all(value, &VALUE) {
        return Err(Kind::Syntax(
            "a field value contains a control byte (RFC 9110 section 5.5)",
        ));
    }
    Ok((name, value.trim_ascii()))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Which bytes belong to a set. A table, because every byte of every head is asked.
type Bytes = [bool; 256];

/// RFC 9110 section 5.6.2.
#[expect(clippy::indexing_slicing, reason = "at compile time")]
const TOKEN: Bytes = {
    let mut set = between(
        b'0',
        b'9',
        between(b'A', b'Z', between(b'a', b'z', [false; 256])),
    );
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
};

/// What a request target is of.
const VISIBLE: Bytes = between(0x21, 0x7e, [false; 256]);

/// RFC 9110 section 5.5.
const VALUE: Bytes = between(
    b'\t',
    b'\t',
    between(0x20, 0x7e, between(0x80, 0xff, [false; 256])),
);

/// `set`, and the bytes from `first` to `last`.
#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn between(first: u8, last: u8, mut set: Bytes) -> Bytes {
    let mut byte = first as usize;
    while byte <= last as usize {
        set[byte] = true;
        byte += 1;
    }
    set
}

fn is_all(text: &[u8], set: &Bytes) -> bool {
    // Of 256 there is one for each byte.
    text.iter()
        .all(|byte| set.get(usize::from(*byte)) == Some(&true))
}

/// Lines, each ended by CR and LF and by nothing less.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Kind>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\r', b'\n', self.0) else {
            self.0 = &[];
            return Some(Err(Kind::Syntax(
                "a line has no end (RFC 9112 section 2.2)",
            )));
        };
        let (line, rest) = self.0.split_at(end);
        match rest.strip_prefix(b"\r\n") {
            Some(rest) => {
                self.0 = rest;
                Some(Ok(line))
            }
            None => {
                self.0 = &[];
                Some(Err(Kind::Syntax(
                    "a line ends with CR or LF alone (RFC 9112 section 2.2)",
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str) -> Result<Framing, Kind> {
        read(head.as_bytes(), 5).map_err(|violation| violation.kind)
    }

    #[test]
    fn framing_is_read_from_the_head() {
        for (fields, framing) in [
            ("", Framing::Nothing),
            ("content-length: 0\r\n", Framing::Nothing),
            ("Content-Length:5\r\n", Framing::Length(5)),
            ("content-length: \t5 \r\n", Framing::Length(5)),
            ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
            (
                "expect: 100-Continue\r\ncontent-length: 1\r\n",
                Framing::Length(1),
            ),
            ("x: caf\u{e9}\r\n", Framing::Nothing),
        ] {
            let head = format!("POST /a HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
            assert_eq!(of(&head), Ok(framing), "{fields}");
        }
    }

    #[test]
    fn violation_knows_the_method_where_it_was_readable() {
        let of = |head: &[u8]| read(head, 5).unwrap_err().method;
        assert_eq!(of(b"PUT /a HTTP/1.1\r\nx\r\n\r\n"), Method::PUT);
        assert_eq!(of(b"\x01 /a HTTP/1.1\r\n\r\n"), unknown());
    }
}
