//! Holds an event of a guest to the rules of CloudEvents 1.0, and to its bounds.
//!
//! Every attribute becomes a header field of the delivery, percent-encoded, so that it takes up to
//! three times its bytes there. The store has the same bounds; here the sentence names the field.

use super::bindings::hms::store::transactions::Event;
use super::error::Refusal;
use hms_store::NewEvent;

/// Bytes of the data. 64 KiB: what every intermediary of CloudEvents must forward.
const DATA_BYTES: usize = 64 << 10;

/// Names and values of the extension attributes, in bytes. 4 KiB: with the rest of the event at
/// most 20 KiB encoded, which fits beside the other fields of a request.
const ATTRIBUTES_BYTES: usize = 4 << 10;

/// Bytes of the type, and of the content type.
const TYPE_BYTES: usize = 255;

/// Bytes of the subject, of the partition key and of a name: those of a key of the store.
const SUBJECT_BYTES: usize = 1 << 10;

/// Extension attributes of one event: each is a header field of its delivery.
const ATTRIBUTES: usize = 32;

/// Bytes of the name of an attribute: what CloudEvents recommends at most.
const ATTRIBUTE_NAME_BYTES: usize = 20;

/// The end of the year 9999 in milliseconds since 1970: the last time that RFC 3339 can write.
const LAST_TIME_MS: u64 = 253_402_300_799_999;

/// What the types of the host begin with.
const HOSTS_TYPES: &str = "hms.";

/// What the names of the host's own attributes begin with.
const HOSTS_ATTRIBUTES: &str = "hms";

/// Attributes of CloudEvents, and extensions of it, that have a field of their own or are set by
/// the host.
const RESERVED: [&str; 13] = [
    "data",
    "datacontenttype",
    "id",
    "partitionkey",
    "sequence",
    "sequencetype",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "tracestate",
    "type",
];

/// The event, with the trace of the request that emits it.
///
/// # Errors
/// A sentence that names the field.
pub(super) fn checked(event: Event, traceparent: Option<String>) -> Result<NewEvent, Refusal> {
    check(&event).map_err(Refusal::event)?;
    Ok(NewEvent {
        kind: event.type_,
        subject: event.subject,
        partition_key: event.partition_key,
        content_type: event.content_type,
        data: event.data,
        attributes: event.attributes,
        traceparent,
        not_before_ms: event.not_before_ms,
        name: event.name,
    })
}

fn check(event: &Event) -> Result<(), String> {
    text("type", &event.type_, TYPE_BYTES)?;
    if event.type_.starts_with(HOSTS_TYPES) {
        return Err(format!(
            "type: {:?} is one of the host's: use one that does not begin with '{HOSTS_TYPES}'",
            event.type_
        ));
    }
    for (field, value) in [
        ("subject", &event.subject),
        ("partition-key", &event.partition_key),
        ("name", &event.name),
    ] {
        if let Some(value) = value {
            text(field, value, SUBJECT_BYTES)?;
        }
    }
    content_type(event)?;
    attributes(&event.attributes)?;
    size(event)?;
    match event.not_before_ms {
        None if event.name.is_some() => Err(
            "name: only an event that waits has one: set not-before-ms, or leave out the name"
                .into(),
        ),
        Some(at) if at > LAST_TIME_MS => Err(format!(
            "not-before-ms: {at} is after the year 9999: give milliseconds since 1970"
        )),
        _ => Ok(()),
    }
}

/// The rule for any text: not empty, not too long, and nothing that no header can carry.
fn text(field: &str, value: &str, limit: usize) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("{field}: it is empty: it has at least 1 byte"));
    }
    if value.len() > limit {
        return Err(format!(
            "{field}: its {} bytes are over the limit of {limit}",
            value.len()
        ));
    }
    match value.chars().find(|it| is_forbidden(*it)) {
        Some(it) => Err(format!(
            "{field}: it has the character U+{:04X}, which CloudEvents does not allow",
            u32::from(it)
        )),
        None => Ok(()),
    }
}

/// Control characters, and code points that are none (CloudEvents 1.0, "Type System").
fn is_forbidden(it: char) -> bool {
    let code = u32::from(it);
    it.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

fn content_type(event: &Event) -> Result<(), String> {
    let value = &event.content_type;
    if value.is_empty() {
        return match event.data.is_empty() {
            true => Ok(()),
            false => Err("content-type: it is empty, and there are data: say what they are".into()),
        };
    }
    text("content-type", value, TYPE_BYTES)?;
    let (essence, parameters) = match value.split_once(';') {
        Some((essence, parameters)) => (essence, Some(parameters)),
        None => (value.as_str(), None),
    };
    let is_type = essence
        .trim_end_matches([' ', '\t'])
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let are_parameters = parameters.is_none_or(|all| {
        let has_name = |one: &str| {
            one.trim()
                .split_once('=')
                .is_some_and(|(name, value)| is_token(name) && !value.is_empty())
        };
        all.is_ascii() && all.split(';').all(has_name)
    });
    match is_type && are_parameters {
        true => Ok(()),
        false => Err(format!(
            "content-type: {value:?} is not a media type such as 'application/json'"
        )),
    }
}

/// A token of HTTP (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_char)
}

fn attributes(attributes: &[(String, String)]) -> Result<(), String> {
    let count = attributes.len();
    if count > ATTRIBUTES {
        return Err(format!(
            "attributes: {count} are over the limit of {ATTRIBUTES}: put the rest into the data"
        ));
    }
    let mut names = attributes.iter().map(|(name, _)| name).enumerate();
    for (at, name) in names.by_ref() {
        let is_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=ATTRIBUTE_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_char);
        if !is_name {
            return Err(format!(
                "attributes: {name:?} is not a name: use 1 to {ATTRIBUTE_NAME_BYTES} of a-z and 0-9"
            ));
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with(HOSTS_ATTRIBUTES) {
            return Err(format!(
                "attributes: '{name}' is set by the host, or has a field of its own: use another \
                 name"
            ));
        }
        if attributes.iter().take(at).any(|(other, _)| other == name) {
            return Err(format!("attributes: '{name}' is duplicated"));
        }
    }
    for (name, value) in attributes {
        text(&format!("attributes: '{name}'"), value, ATTRIBUTES_BYTES)?;
    }
    Ok(())
}

fn size(event: &Event) -> Result<(), String> {
    let (len, limit) = (event.data.len(), DATA_BYTES);
    if len > limit {
        return Err(format!(
            "data: {len} bytes are over the limit of {limit}: store them, and emit where they are"
        ));
    }
    let attributes = event.attributes.iter();
    let len: usize = attributes
        .map(|(name, value)| name.len() + value.len())
        .sum();
    match len > ATTRIBUTES_BYTES {
        true => Err(format!(
            "attributes: all together, {len} bytes are over the limit of {ATTRIBUTES_BYTES}: put \
             the rest into the data"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            type_: "gov.payment.paid.v1".into(),
            subject: Some("7".into()),
            partition_key: None,
            content_type: "application/json; charset=utf-8".into(),
            data: b"{}".to_vec(),
            attributes: vec![("amount".into(), "110 €".into())],
            not_before_ms: None,
            name: None,
        }
    }

    fn refused(change: impl FnOnce(&mut Event)) -> String {
        let mut event = event();
        change(&mut event);
        check(&event).unwrap_err()
    }

    fn accepted(change: impl FnOnce(&mut Event)) {
        let mut event = event();
        change(&mut event);
        assert_eq!(check(&event), Ok(()));
    }

    #[test]
    fn event_keeps_all_that_it_has_and_gets_the_trace() {
        let checked = checked(event(), Some("00-1-2-01".into())).unwrap();
        assert_eq!(checked.kind, "gov.payment.paid.v1");
        assert_eq!(checked.subject.as_deref(), Some("7"));
        assert_eq!(checked.attributes, event().attributes);
        assert_eq!(checked.data, b"{}");
        assert_eq!(checked.traceparent.as_deref(), Some("00-1-2-01"));
    }

    #[test]
    fn refused_event_names_the_field() {
        let long = "x".repeat(1025);
        type Change<'a> = &'a dyn Fn(&mut Event);
        let cases: [(&str, Change<'_>); 17] = [
            ("type: ", &|it| it.type_.clear()),
            ("type: ", &|it| it.type_ = "a\nb".into()),
            ("type: ", &|it| it.type_ = "x".repeat(256)),
            ("type: ", &|it| it.type_ = "hms.schedule.nightly".into()),
            ("subject: ", &|it| it.subject = Some(String::new())),
            ("subject: ", &|it| it.subject = Some(long.clone())),
            ("subject: ", &|it| it.subject = Some("\u{85}".into())),
            ("subject: ", &|it| it.subject = Some("\u{ffff}".into())),
            ("partition-key: ", &|it| {
                it.partition_key = Some(String::new())
            }),
            ("content-type: ", &|it| it.content_type.clear()),
            ("content-type: ", &|it| it.content_type = "json".into()),
            ("content-type: ", &|it| it.content_type = "a/b; c".into()),
            ("content-type: ", &|it| it.content_type = "a/b c".into()),
            ("data: ", &|it| it.data = vec![0; DATA_BYTES + 1]),
            ("name: ", &|it| it.name = Some("remind".into())),
            ("not-before-ms: ", &|it| it.not_before_ms = Some(u64::MAX)),
            ("attributes: ", &|it| {
                it.attributes = (0..9).map(|n| (format!("a{n}"), long.clone())).collect();
            }),
        ];
        for (field, change) in cases {
            let why = refused(change);
            assert!(why.starts_with(field), "{field} {why}");
        }
    }

    #[test]
    fn attribute_names_follow_the_specification_and_none_is_the_hosts() {
        let named = |name: &str| refused(|it| it.attributes = vec![(name.into(), "x".into())]);
        for name in ["", "Upper", "a-b", "a_b", "ä", &"x".repeat(21)] {
            assert!(named(name).contains("is not a name"), "{name}");
        }
        for name in RESERVED.into_iter().chain(["hms", "hmsround"]) {
            assert!(named(name).contains("set by the host"), "{name}");
        }
        let pair = |name: &str| (name.to_owned(), "x".to_owned());
        assert!(refused(|it| it.attributes = vec![pair("a"), pair("a")]).contains("duplicated"));
        let many = (0..33).map(|n| pair(&format!("a{n}"))).collect();
        assert!(refused(|it| it.attributes = many).contains("limit of 32"));
        assert!(refused(|it| it.attributes[0].1.clear()).contains("'amount'"));
        assert!(refused(|it| it.attributes[0].1 = "a\rb".into()).contains("U+000D"));
        accepted(|it| it.attributes = vec![pair("dataschema"), pair("a1")]);
    }

    #[test]
    fn event_at_its_bounds_is_accepted() {
        accepted(|it| it.data = vec![0; DATA_BYTES]);
        accepted(|it| it.subject = Some("x".repeat(SUBJECT_BYTES)));
        accepted(|it| (it.data, it.content_type) = (Vec::new(), String::new()));
        accepted(|it| it.content_type = "application/vnd.gov+json;v=\"1\"".into());
        accepted(|it| (it.not_before_ms, it.name) = (Some(LAST_TIME_MS), Some("n".into())));
    }
}
