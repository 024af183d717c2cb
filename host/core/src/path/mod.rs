//! Paths of requests in their one form, and patterns that they are matched by: those of routes, and
//! those of grants.
//!
//! In its one form (RFC 3986 section 6.2.2) a path has percent-encoded unreserved characters
//! decoded, other percent-encodings in upper case, and what browsers send raw outside of the
//! grammar (`"<>[]^{|}` and the backtick) encoded. What services read differently is refused: dot
//! segments, backslashes, control bytes, broken percent-encodings.

mod pattern;

pub use pattern::{MAX_SEGMENTS, Pattern, Segment, segments_of};

use std::fmt::Write;

/// What a path may contain if its route allows it, because services read it in different ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// `%2F`: a character of its segment, or a separator.
    pub encoded_slashes: bool,
    /// `//`: an empty segment, or the same as `/`.
    pub empty_segments: bool,
}

impl Oddities {
    /// Whether all of these are among those `allowed`.
    ///
    /// # Errors
    ///
    /// Which one is not.
    pub fn within(self, allowed: Oddities) -> Result<(), &'static str> {
        if self.empty_segments && !allowed.empty_segments {
            return Err("the path has an empty segment ('//')");
        }
        if self.encoded_slashes && !allowed.encoded_slashes {
            return Err("the path has an encoded slash or backslash");
        }
        Ok(())
    }
}

/// As in a normalised path.
pub const ENCODED_SLASH: &str = "%2F";

/// Normalises a path without oddities, or says which rule it breaks. Idempotent.
pub fn normalise(raw: &str) -> Result<String, &'static str> {
    let (path, odd) = read_path(raw)?;
    odd.within(Oddities::default())?;
    Ok(path)
}

/// Checks that a query has visible ASCII alone: what else it has, readers take differently.
///
/// # Errors
/// The rule that it breaks.
pub fn check_query(query: &str) -> Result<(), &'static str> {
    match query.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("the query has a byte that must be percent-encoded"),
    }
}

/// Normalises a path and lists its oddities, or says which rule it breaks. Idempotent.
pub fn read_path(raw: &str) -> Result<(String, Oddities), &'static str> {
    if !raw.starts_with('/') {
        return Err("the path must begin with '/'");
    }
    // A reference that begins with `//` names a host (RFC 3986 section 4.2), and services repeat
    // the requested path in redirects.
    if raw.starts_with("//") {
        return Err("the path begins with an empty segment ('//')");
    }
    let mut odd = Oddities::default();
    let mut path = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' if path.ends_with('/') => {
                odd.empty_segments = true;
                path.push('/');
            }
            b'%' => {
                let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
                    return Err("the path has a '%' without two hexadecimal digits");
                };
                match high * 16 + low {
                    b'\\' => return Err("the path has an encoded slash or backslash"),
                    b'/' => {
                        odd.encoded_slashes = true;
                        path.push_str(ENCODED_SLASH);
                    }
                    0..=0x1f | 0x7f => return Err("the path has an encoded control byte"),
                    plain if is_unreserved(plain) => path.push(char::from(plain)),
                    other => encode(&mut path, other),
                }
            }
            b'\\' => return Err("the path has a backslash"),
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                encode(&mut path, byte);
            }
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'@' | b'/' => path.push(char::from(byte)),
            _ if is_unreserved(byte) => path.push(char::from(byte)),
            _ => return Err("the path has a byte that must be percent-encoded"),
        }
    }
    // Whichever way an encoded slash is read.
    let is_dot = |segment: &str| segment.split(ENCODED_SLASH).any(is_dot_segment);
    if path.split('/').any(is_dot) {
        return Err("the path has a dot segment ('.' or '..')");
    }
    Ok((path, odd))
}

/// `..;x` counts, because some upstreams cut off the parameter and resolve the rest.
fn is_dot_segment(segment: &str) -> bool {
    let segment = segment.split(';').next().unwrap_or_default();
    let segment = segment.split("%3B").next().unwrap_or_default();
    segment == "." || segment == ".."
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).map(|value| value as u8)
}

fn encode(path: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(path, "%{byte:02X}");
}
