//! RFC 9110, section 13, as a table of cases.

use super::*;
use Conditional::{NotModified, Proceed, Whole};
use http::HeaderValue;

/// 1994-11-06 08:49:37, and an hour later.
const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const CHANGED_S: i64 = 784_111_777;
const NOW_S: i64 = CHANGED_S + 7_200;

const FAILED_MATCH: Result<Conditional, Refusal> = Err(Refusal::Failed(header::IF_MATCH));
const FAILED_NONE: Result<Conditional, Refusal> = Err(Refusal::Failed(header::IF_NONE_MATCH));
const FAILED_SINCE: Result<Conditional, Refusal> =
    Err(Refusal::Failed(header::IF_UNMODIFIED_SINCE));
const BAD_MATCH: Result<Conditional, Refusal> = Err(Refusal::Malformed(header::IF_MATCH));
const BAD_NONE: Result<Conditional, Refusal> = Err(Refusal::Malformed(header::IF_NONE_MATCH));

fn both() -> Option<Validators> {
    let ms = u64::try_from(CHANGED_S).unwrap() * 1000 + 999;
    Some(Validators::new().strong_tag("a").last_modified_ms(ms))
}

fn weak() -> Option<Validators> {
    Some(Validators::new().weak_tag("a"))
}

fn bare() -> Option<Validators> {
    Some(Validators::new())
}

/// `fields`: a line each, `name: value`.
fn verdict(
    method: &str,
    current: Option<&Validators>,
    fields: &[&[u8]],
) -> Result<Conditional, Refusal> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let colon = field.iter().position(|byte| *byte == b':').unwrap();
        let name = HeaderName::from_bytes(&field[..colon]).unwrap();
        headers.append(name, HeaderValue::from_bytes(&field[colon + 2..]).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    evaluate(&method, &headers, current, || NOW_S)
}

#[track_caller]
fn case(
    method: &str,
    current: Option<Validators>,
    fields: &[&str],
    expected: Result<Conditional, Refusal>,
) {
    let lines: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    let seen = verdict(method, current.as_ref(), &lines);
    assert_eq!(seen, expected, "{method} {fields:?} of {current:?}");
}

#[test]
fn if_match_follows_rfc_9110_section_13_1_1() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "POST"] {
        case(method, both(), &[], Ok(Proceed));
        case(method, both(), &["if-match: \"a\""], Ok(Proceed));
        case(method, both(), &["if-match: *"], Ok(Proceed));
        case(method, both(), &["if-match: \"b\""], FAILED_MATCH);
        case(method, None, &["if-match: *"], FAILED_MATCH);
        case(method, None, &["if-match: \"a\""], FAILED_MATCH);
        // A thing without a tag is there, and has no tag that could be named.
        case(method, bare(), &["if-match: *"], Ok(Proceed));
        case(method, bare(), &["if-match: \"a\""], FAILED_MATCH);
        // Strong comparison: neither side may be weak.
        case(method, both(), &["if-match: W/\"a\""], FAILED_MATCH);
        case(method, weak(), &["if-match: W/\"a\""], FAILED_MATCH);
        case(method, weak(), &["if-match: \"a\""], FAILED_MATCH);
        // A list that names nothing.
        case(method, both(), &["if-match: "], FAILED_MATCH);
        case(method, both(), &["if-match: ,, ,"], FAILED_MATCH);
    }
}

#[test]
fn lists_span_commas_and_fields() {
    for fields in [
        &["if-match: \"b\", \"a\""][..],
        &["if-match: \"b\",\"a\""],
        &["if-match:  \"a\" ,\t\"b\""],
        &["if-match: ,\"b\", ,\"a\","],
        &["if-match: \"b\"", "if-match: \"a\""],
        &["if-match: \"b\"", "if-match: \"c\", \"a\"", "if-match: "],
        &["if-match: W/\"a\", \"a\""],
    ] {
        case("PUT", both(), fields, Ok(Proceed));
    }
    // A comma, a star or a backslash between the quotes is part of the tag.
    case("PUT", both(), &["if-match: \"b,\"a\",\""], BAD_MATCH);
    for tag in ["x,\"a", "*", "a\\", ",", "W/", "a,b"] {
        let current = Some(Validators::new().strong_tag(tag));
        let named = format!("if-match: \"zz\", \"{}\"", tag.replace('"', "%22"));
        case("PUT", current, &[&named], Ok(Proceed));
    }
}

#[test]
fn if_none_match_follows_rfc_9110_section_13_1_2() {
    for method in ["GET", "HEAD"] {
        case(method, both(), &["if-none-match: \"a\""], Ok(NotModified));
        case(method, both(), &["if-none-match: *"], Ok(NotModified));
        case(method, both(), &["if-none-match: \"b\""], Ok(Proceed));
        case(method, None, &["if-none-match: *"], Ok(Proceed));
        // Weak comparison.
        case(method, both(), &["if-none-match: W/\"a\""], Ok(NotModified));
        case(method, weak(), &["if-none-match: \"a\""], Ok(NotModified));
        case(method, weak(), &["if-none-match: W/\"a\""], Ok(NotModified));
        let two = &["if-none-match: \"b\"", "if-none-match: W/\"a\""];
        case(method, both(), two, Ok(NotModified));
    }
    for method in ["PUT", "DELETE", "PATCH", "POST"] {
        case(method, both(), &["if-none-match: \"a\""], FAILED_NONE);
        case(method, both(), &["if-none-match: W/\"a\""], FAILED_NONE);
        case(method, both(), &["if-none-match: *"], FAILED_NONE);
        case(method, bare(), &["if-none-match: *"], FAILED_NONE);
        case(method, both(), &["if-none-match: \"b\""], Ok(Proceed));
        case(method, None, &["if-none-match: *"], Ok(Proceed));
    }
}

#[test]
fn if_modified_since_follows_rfc_9110_section_13_1_3() {
    let since = |date: &str| format!("if-modified-since: {date}");
    for method in ["GET", "HEAD"] {
        case(method, both(), &[&since(CHANGED)], Ok(NotModified));
        case(method, both(), &[&since(LATER)], Ok(NotModified));
        case(method, both(), &[&since(EARLIER)], Ok(Proceed));
        let old_forms = ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for date in old_forms {
            case(method, both(), &[&since(date)], Ok(NotModified));
        }
        // To be ignored: no date, more than one, a thing without a date.
        for date in ["", "0", "yesterday", "1994-11-06", "\"a\""] {
            case(method, both(), &[&since(date)], Ok(Proceed));
        }
        case(method, both(), &[&since(LATER), &since(LATER)], Ok(Proceed));
        let list = format!("{LATER}, {LATER}");
        case(method, both(), &[&since(&list)], Ok(Proceed));
        case(method, weak(), &[&since(LATER)], Ok(Proceed));
        case(method, None, &[&since(LATER)], Ok(Proceed));
    }
    for method in ["PUT", "DELETE", "POST"] {
        case(method, both(), &[&since(LATER)], Ok(Proceed));
    }
}

#[test]
fn if_unmodified_since_follows_rfc_9110_section_13_1_4() {
    let since = |date: &str| format!("if-unmodified-since: {date}");
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        case(method, both(), &[&since(CHANGED)], Ok(Proceed));
        case(method, both(), &[&since(LATER)], Ok(Proceed));
        case(method, both(), &[&since(EARLIER)], FAILED_SINCE);
        let asctime = since("Sun Nov  6 08:49:36 1994");
        case(method, both(), &[&asctime], FAILED_SINCE);
        for date in ["", "0", "yesterday"] {
            case(method, both(), &[&since(date)], Ok(Proceed));
        }
        let twice = [&*since(EARLIER), &since(EARLIER)];
        case(method, both(), &twice, Ok(Proceed));
        case(method, weak(), &[&since(EARLIER)], Ok(Proceed));
        case(method, None, &[&since(EARLIER)], Ok(Proceed));
    }
}

#[test]
fn if_range_follows_rfc_9110_section_13_1_5() {
    let part = "range: bytes=0-1";
    let range = |value: &str| format!("if-range: {value}");
    for (value, verdict) in [
        ("\"a\"", Proceed),
        (CHANGED, Proceed),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Proceed),
        ("\"b\"", Whole),
        // Strong comparison, one tag, and a date that is exactly the same.
        ("W/\"a\"", Whole),
        ("\"a\", \"b\"", Whole),
        ("*", Whole),
        (LATER, Whole),
        (EARLIER, Whole),
        ("", Whole),
        ("a", Whole),
        ("\"a", Whole),
    ] {
        case("GET", both(), &[part, &range(value)], Ok(verdict));
        // Without a range there is nothing to hold back, and HEAD knows none.
        case("GET", both(), &[&range(value)], Ok(Proceed));
        case("HEAD", both(), &[part, &range(value)], Ok(Proceed));
    }
    let twice = [part, "if-range: \"a\"", "if-range: \"a\""];
    case("GET", both(), &twice, Ok(Whole));
    case("GET", weak(), &[part, "if-range: \"a\""], Ok(Whole));
    case("GET", bare(), &[part, &range(CHANGED)], Ok(Whole));
    case("GET", None, &[part, "if-range: \"a\""], Ok(Whole));
    case("GET", both(), &[part], Ok(Proceed));
    // In the second of the change it may change again under the same date.
    let now_ms = u64::try_from(NOW_S).unwrap() * 1000;
    let fresh = Some(Validators::new().last_modified_ms(now_ms));
    let now = "Sun, 06 Nov 1994 10:49:37 GMT";
    case("GET", fresh, &[part, &range(now)], Ok(Whole));
}

#[test]
fn precedence_follows_rfc_9110_section_13_2_2() {
    let late = format!("if-modified-since: {LATER}");
    let old = format!("if-unmodified-since: {EARLIER}");
    // If-Match before If-Unmodified-Since, either way.
    case("PUT", both(), &["if-match: \"a\"", &old], Ok(Proceed));
    let fine = format!("if-unmodified-since: {LATER}");
    case("PUT", both(), &["if-match: \"b\"", &fine], FAILED_MATCH);
    // If-None-Match before If-Modified-Since, either way.
    let other = "if-none-match: \"b\"";
    case("GET", both(), &[other, &late], Ok(Proceed));
    let early = format!("if-modified-since: {EARLIER}");
    let same = "if-none-match: \"a\"";
    case("GET", both(), &[same, &early], Ok(NotModified));
    // What fails of the first pair is told before the second pair is looked at.
    case("GET", both(), &["if-match: \"b\"", same], FAILED_MATCH);
    case("GET", both(), &[&old, same], FAILED_SINCE);
    case("GET", both(), &["if-match: \"a\"", same], Ok(NotModified));
    case("GET", both(), &[&fine, &late], Ok(NotModified));
    // 304 before the range, and the range last of all.
    let part = ["range: bytes=0-1", "if-range: \"b\""];
    case("GET", both(), &[part[0], part[1], same], Ok(NotModified));
    case("GET", both(), &[part[0], part[1], other], Ok(Whole));
    let gone = [part[0], part[1], "if-match: \"b\""];
    case("GET", both(), &gone, FAILED_MATCH);
}

#[test]
fn methods_without_a_representation_ignore_conditions() {
    for method in ["OPTIONS", "TRACE", "CONNECT"] {
        case(method, both(), &["if-match: \"b\""], Ok(Proceed));
        case(method, both(), &["if-none-match: *"], Ok(Proceed));
        case(method, both(), &["if-match: b"], Ok(Proceed));
    }
}

#[test]
fn unreadable_list_matches_nothing_and_changes_nothing() {
    for list in [
        "a",
        "\"a",
        "a\"",
        "w/\"a\"",
        "W/a",
        "W/ \"a\"",
        "\"a\" \"a\"",
        "\"a\"x",
        "\"b c\"",
        "*, \"a\"",
        "\"a\", *",
        "*, *",
        "**",
        "*x",
        "\"b\", a",
    ] {
        let (matching, none) = (
            format!("if-match: {list}"),
            format!("if-none-match: {list}"),
        );
        for method in ["PUT", "DELETE", "POST"] {
            case(method, both(), &[&matching], BAD_MATCH);
            case(method, both(), &[&none], BAD_NONE);
        }
        // A reader is given what is there; what can be read of the list counts.
        let named = list.starts_with("\"a\",") || list.ends_with(", \"a\"");
        let (matched, known) = match named {
            true => (Ok(Proceed), Ok(NotModified)),
            false => (FAILED_MATCH, Ok(Proceed)),
        };
        case("GET", both(), &[&matching], matched);
        case("GET", both(), &[&none], known);
    }
    case("PUT", both(), &["if-match: *", "if-match: *"], BAD_MATCH);
    case(
        "PUT",
        both(),
        &["if-match: *", "if-match: \"a\""],
        BAD_MATCH,
    );
}

#[test]
fn non_ascii_tag_is_read_and_never_matches() {
    let current = both();
    let seen = verdict("PUT", current.as_ref(), &[b"if-match: \"\xff\", \"a\""]);
    assert_eq!(seen, Ok(Proceed));
    let seen = verdict("PUT", current.as_ref(), &[b"if-match: \"\xff\""]);
    assert_eq!(seen, FAILED_MATCH);
    let seen = verdict("GET", current.as_ref(), &[b"if-modified-since: \xff"]);
    assert_eq!(seen, Ok(Proceed));
}

#[test]
fn long_list_is_read_in_one_pass() {
    let list = "\"b\", ".repeat(10_000) + "\"a\"";
    case("PUT", both(), &[&format!("if-match: {list}")], Ok(Proceed));
    let commas = ",".repeat(60_000);
    case(
        "PUT",
        both(),
        &[&format!("if-match: {commas}")],
        FAILED_MATCH,
    );
    let unread = "x,".repeat(30_000);
    case("PUT", both(), &[&format!("if-match: {unread}")], BAD_MATCH);
}
