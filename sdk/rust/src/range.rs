//! A part of something: the `Range` of RFC 9110, section 14.

use std::ops::Range;

/// What of a document to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: no range was asked for, or one that may be ignored.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// The range lies outside: 416.
    Nothing,
}

/// Reads a `Range` header for a document of `size` bytes. What is malformed, of another unit or of
/// several ranges is ignored, as section 14.2 allows.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let spec = header.and_then(|header| header.trim().split_once('='));
    let Some((unit, spec)) = spec else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(length)) if first.is_empty() => size.saturating_sub(length)..size,
        _ => return Wanted::Whole,
    };
    if range.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Part(range)
    }
}

/// Digits only. More than fit are as good as the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_clamped_to_the_document() {
        let of_ten = |header| wanted(Some(header), 10);
        assert_eq!(of_ten("bytes=0-3"), Wanted::Part(0..4));
        assert_eq!(of_ten("bytes=4-"), Wanted::Part(4..10));
        assert_eq!(of_ten("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(of_ten("bytes=-30"), Wanted::Part(0..10));
        assert_eq!(
            of_ten("Bytes=9-99999999999999999999999"),
            Wanted::Part(9..10)
        );
    }

    #[test]
    fn range_outside_the_document_selects_nothing() {
        for header in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(wanted(Some(header), 10), Wanted::Nothing, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=-5"), 0), Wanted::Nothing);
    }

    #[test]
    fn unsupported_range_header_selects_the_whole_document() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,4-5",
            "pages=1-2",
            "bytes=+1-2",
            "bytes=a-b",
        ] {
            assert_eq!(wanted(Some(header), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }
}
