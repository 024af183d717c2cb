//! W3C Trace Context: the `traceparent` that a request goes on with.

use uuid::Uuid;

/// A `traceparent` of version 00 below `inbound`: the same trace with a new parent id. Where that
/// is broken or not there, a new trace.
pub fn child_of(inbound: Option<&str>) -> String {
    let span = Uuid::new_v4().as_u64_pair().1;
    match inbound.and_then(parse) {
        Some((trace_id, flags)) => format!("00-{trace_id}-{span:016x}-{flags}"),
        None => format!("00-{}-{span:016x}-01", Uuid::new_v4().simple()),
    }
}

/// Trace id and flags of a valid `traceparent`. Of an unknown version, the known part is used.
fn parse(value: &str) -> Option<(&str, &str)> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    let valid = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2);
    valid.then_some((trace, flags))
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
        assert!(parse(&trace).is_some());
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
                !trace.contains("4bf92f3577b34da6") && parse(&trace).is_some(),
                "{bad}"
            );
        }
    }
}
