//! W3C Trace Context: the `traceparent` that a request goes on with.

use std::fmt;
use uuid::Uuid;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never 0.
    pub trace_id: u128,
    /// The span: never 0.
    pub span_id: u64,
    /// Whether the trace is recorded, as whoever wrote it has decided.
    pub sampled: bool,
}

impl TraceContext {
    /// A new trace. All bits of its id are random, so that samplers of any kind can use them.
    pub fn new(sampled: bool) -> Self {
        let (a, b) = (Uuid::new_v4().as_u128(), Uuid::new_v4());
        // A UUID has a version and a variant at fixed places. Turned by half, they are elsewhere.
        let trace_id = a ^ b.as_u128().rotate_left(64);
        let (high, low) = b.as_u64_pair();
        TraceContext {
            trace_id: trace_id.max(1),
            span_id: (high ^ low.rotate_left(32)).max(1),
            sampled,
        }
    }

    /// A new span of the same trace.
    pub fn child(self) -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        TraceContext {
            span_id: (high ^ low.rotate_left(32)).max(1),
            ..self
        }
    }

    /// Reads a `traceparent`. Of an unknown version, the known part is used. None where it is
    /// broken. Of the flags only "sampled" has a meaning here.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let valid = is_hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && is_hex(trace, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2);
        if !valid {
            return None;
        }
        let context = TraceContext {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(parent, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}

/// A trace's id, as it is written: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    /// Reads what its `Display` writes. None where that is anything else, or 0.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digits = is_hex(text, 32);
        let id = u128::from_str_radix(text, 16).ok().filter(|_| is_digits)?;
        (id != 0).then_some(TraceId(id))
    }
}

/// Whether it is so many digits as `traceparent` has them.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// As a `traceparent` of version 00. Each request has one written: digit by digit, not by way of
/// [`fmt`], which takes several times as long.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (trace_id, span_id) = (self.trace_id.to_be_bytes(), self.span_id.to_be_bytes());
        let places = (3..35).chain(36..52);
        for (place, digit) in places.zip(trace_id.into_iter().chain(span_id).flat_map(digits)) {
            if let Some(place) = text.get_mut(place) {
                *place = digit;
            }
        }
        if self.sampled
            && let Some(flags) = text.last_mut()
        {
            *flags = b'1';
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// The two digits of a byte.
fn digits(byte: u8) -> [u8; 2] {
    let digit = |half: u8| match half {
        0..=9 => b'0' + half,
        _ => b'a' - 10 + half,
    };
    [digit(byte >> 4), digit(byte & 15)]
}

/// A `traceparent` of version 00 below `above`, which a part of this host wrote: the same trace
/// with a new parent id. Where that is broken or not there, a new trace, which nobody records.
pub fn child_of(above: Option<&str>) -> String {
    let above = above.and_then(TraceContext::parse);
    let below = above.map_or_else(|| TraceContext::new(false), TraceContext::child);
    below.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_trace_continues_under_a_new_parent() {
        let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = child_of(Some(inbound));
        assert!(
            trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01")
        );
        assert_ne!(trace, inbound);
        assert!(TraceContext::parse(&trace).is_some());
    }

    #[test]
    fn context_is_read_as_it_is_written() {
        for sampled in [true, false] {
            let context = TraceContext::new(sampled);
            assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more";
        let read = TraceContext::parse(later).unwrap();
        assert!(read.sampled && read.to_string().ends_with("-01"));
    }

    #[test]
    fn trace_that_nobody_records_is_not_called_sampled() {
        assert!(child_of(None).ends_with("-00"));
    }

    #[test]
    fn context_is_written_digit_by_digit() {
        let context = TraceContext {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            sampled: true,
        };
        let written = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(context.to_string(), written);
        assert_eq!(TraceContext::parse(written), Some(context));
        for n in 0..1000 {
            let it = TraceContext::new(n % 2 == 0).child();
            let (trace, span, flags) = (it.trace_id, it.span_id, u8::from(it.sampled));
            let formatted = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            assert_eq!(it.to_string(), formatted);
        }
    }

    #[test]
    fn every_bit_of_a_trace_id_is_random() {
        let ids = (0..200).map(|_| TraceContext::new(false).trace_id);
        let (ones, zeros) = ids.fold((0, 0), |(ones, zeros), id| (ones | id, zeros | !id));
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
    }

    #[test]
    fn malformed_trace_is_not_continued() {
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "nonsense",
        ] {
            let trace = child_of(Some(bad));
            assert!(
                !trace.contains("4bf92f3577b34da6") && TraceContext::parse(&trace).is_some(),
                "{bad}"
            );
        }
    }
}
