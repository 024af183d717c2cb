//! What an answer says about being stored: in `Cache-Control` (RFC 9111 section 5.2.2), or in a
//! field that is targeted at caches like this one (RFC 9213), which then counts instead.
//!
//! `Cache-Control` is read as leniently as senders write it. A targeted field is a structured field
//! and is ignored if it does not parse. Whatever is doubtful is read as less to be stored.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

/// For this gateway alone: it never leaves it.
pub(super) use crate::request::headers::HMS_CACHE_CONTROL;

/// The target list (RFC 9213 section 2.2): the first one that is there and parses counts.
static TARGETED: [HeaderName; 2] = [
    HMS_CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
];

/// The longest time that is told apart: 2^31 s, as RFC 9111 section 1.2.2 recommends.
const MAX_SECONDS: u64 = 1 << 31;

/// A time that a directive gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seconds {
    #[default]
    Unsaid,
    /// It is no number, or there are two: the answer counts as stale (RFC 9111 section 4.2.1).
    Wrong,
    Are(u64),
}

/// The directives that concern a shared cache which stores only what is fresh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `no-store`, `private` or `no-cache`, with arguments or without.
    pub(super) forbids: bool,
    /// `public` or `must-revalidate`. With `s-maxage`, these let an answer be stored that was made
    /// for one caller (RFC 9111 section 3.5).
    pub(super) opens: bool,
    pub(super) max_age: Seconds,
    pub(super) s_maxage: Seconds,
}

impl Directives {
    /// Those of an answer, and whether they are of a targeted field, beside which `Expires` does
    /// not count.
    pub(super) fn read(headers: &HeaderMap) -> (Directives, bool) {
        match TARGETED.iter().find_map(|name| targeted(headers, name)) {
            Some(directives) => (directives, true),
            None => (Directives::general(headers), false),
        }
    }

    /// `Cache-Control`.
    fn general(headers: &HeaderMap) -> Directives {
        let mut read = Directives::default();
        for line in headers.get_all(CACHE_CONTROL) {
            let mut rest = line.as_bytes();
            while let Some((member, next)) = member(rest) {
                let (name, value) = match member.iter().position(|byte| *byte == b'=') {
                    Some(at) => {
                        let (name, value) = member.split_at(at);
                        (name, Some(unquoted(value.get(1..).unwrap_or_default())))
                    }
                    None => (member, None),
                };
                let name = name.trim_ascii();
                // Where a comma is missing, or a name is quoted, it may be one that forbids.
                read.forbids |= !member.is_empty() && !is_token(name);
                read.take(&name.to_ascii_lowercase(), || number(value));
                rest = next;
            }
            // What follows an open quote may be a directive that its sender means.
            read.forbids |= !rest.is_empty();
        }
        read
    }

    fn take(&mut self, name: &[u8], seconds: impl FnOnce() -> Seconds) {
        match name {
            b"no-store" | b"private" | b"no-cache" => self.forbids = true,
            b"public" | b"must-revalidate" => self.opens = true,
            b"max-age" => self.max_age = self.max_age.and(seconds()),
            b"s-maxage" => self.s_maxage = self.s_maxage.and(seconds()),
            _ => {}
        }
    }
}

impl Seconds {
    /// The same directive again.
    fn and(self, again: Seconds) -> Seconds {
        match self {
            Seconds::Unsaid => again,
            _ if self == again => self,
            _ => Seconds::Wrong,
        }
    }
}

/// The first member of a list in which quoted strings may have commas, and what follows it. None at
/// the end, and before a member with a quote that is not closed.
fn member(list: &[u8]) -> Option<(&[u8], &[u8])> {
    if list.is_empty() {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                let (member, rest) = list.split_at(at);
                return Some((member.trim_ascii(), rest.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    (!quoted).then_some((list.trim_ascii(), &[]))
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    let others = b"!#$%&'*+-.^_`|~";
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || others.contains(byte);
    !name.is_empty() && name.iter().all(fits)
}

/// RFC 9111 section 5.2: a recipient takes both forms of an argument.
fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let inner = value.strip_prefix(b"\"");
    let inner = inner.and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// Seconds in digits, as large as they may be.
pub(super) fn number(value: Option<&[u8]>) -> Seconds {
    let Some(digits) = value.filter(|value| !value.is_empty()) else {
        return Seconds::Wrong;
    };
    let mut seconds = 0_u64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return Seconds::Wrong;
        }
        seconds = (seconds * 10 + u64::from(byte - b'0')).min(MAX_SECONDS);
    }
    Seconds::Are(seconds)
}

/// The directives of a targeted field; none if it is missing, empty or does not parse.
fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
    if lines.is_empty() {
        return None;
    }
    let parsed: Dictionary = Parser::new(&lines.join(b", ".as_slice())).parse().ok()?;
    if parsed.is_empty() {
        return None;
    }
    let mut read = Directives::default();
    for (key, member) in &parsed {
        let bare = match member {
            ListEntry::Item(Item { bare_item, .. }) => Some(bare_item),
            ListEntry::InnerList(_) => None,
        };
        let name = key.as_str().as_bytes();
        let opens = [&b"public"[..], b"must-revalidate"].contains(&name);
        if opens && bare != Some(&BareItem::Boolean(true)) {
            continue;
        }
        read.take(name, || match bare {
            Some(BareItem::Integer(seconds)) => u64::try_from(i64::from(*seconds))
                .map_or(Seconds::Wrong, |seconds| {
                    Seconds::Are(seconds.min(MAX_SECONDS))
                }),
            _ => Seconds::Wrong,
        });
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        });
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }

    fn general(value: &str) -> Directives {
        Directives::read(&headers(&[("cache-control", value)])).0
    }

    fn age(seconds: u64) -> Directives {
        Directives {
            max_age: Seconds::Are(seconds),
            ..Directives::default()
        }
    }

    const FORBIDS: Directives = Directives {
        forbids: true,
        opens: false,
        max_age: Seconds::Unsaid,
        s_maxage: Seconds::Unsaid,
    };

    #[test]
    fn cache_control_is_read_in_every_usual_spelling() {
        for (value, expected) in [
            ("", Directives::default()),
            ("max-age=60", age(60)),
            (" , Max-Age = \"60\" ,,", age(60)),
            ("max-age=60, max-age=60", age(60)),
            ("max-age=99999999999999999999999", age(1 << 31)),
            ("no-store", FORBIDS),
            ("PRIVATE", FORBIDS),
            ("private=\"set-cookie, x\"", FORBIDS),
            ("no-cache=\"a\"", FORBIDS),
            ("x=\"max-age=1, \\\" no-store\"", Directives::default()),
            (
                "public, s-maxage=5",
                Directives {
                    opens: true,
                    s_maxage: Seconds::Are(5),
                    ..Directives::default()
                },
            ),
        ] {
            assert_eq!(general(value), expected, "{value}");
        }
    }

    #[test]
    fn member_whose_name_is_no_token_forbids() {
        for value in [
            "no-cache no-store, max-age=60",
            "private max-age=5, s-maxage=60",
            "max-age=60, private; x",
            "max-age=60, \"no-store\"",
            "max-age=60, =no-store",
        ] {
            assert!(general(value).forbids, "{value}");
        }
    }

    #[test]
    fn time_that_is_no_number_or_of_two_values_makes_an_answer_stale() {
        for value in [
            "max-age",
            "max-age=",
            "max-age=\"\"",
            "max-age=-1",
            "max-age=1.5",
            "max-age=6e1",
            "max-age=60, max-age=61",
            "max-age=x, max-age=60",
        ] {
            assert_eq!(general(value).max_age, Seconds::Wrong, "{value}");
        }
        let two = headers(&[
            ("cache-control", "s-maxage=1"),
            ("cache-control", "s-maxage=2"),
        ]);
        assert_eq!(Directives::read(&two).0.s_maxage, Seconds::Wrong);
    }

    #[test]
    fn first_targeted_field_that_parses_counts_instead_of_the_others() {
        let all = |hms, cdn| {
            let fields = [
                ("cache-control", "no-store"),
                ("cdn-cache-control", cdn),
                ("hms-cache-control", hms),
            ];
            Directives::read(&headers(&fields))
        };
        assert_eq!(all("max-age=1", "max-age=2"), (age(1), true));
        for broken in [
            "",
            "max-age",
            "max-age=1,",
            "Max-Age=1",
            "max-age=\"1",
            "=1",
            "\u{fc}",
        ] {
            let (read, of_target) = all(broken, "max-age=2");
            // Without a value it parses, as a boolean.
            let expected = match broken {
                "max-age" => Seconds::Wrong,
                _ => Seconds::Are(2),
            };
            assert_eq!((read.max_age, of_target), (expected, true), "{broken}");
        }
        assert_eq!(all("", ""), (FORBIDS, false));
    }

    #[test]
    fn targeted_directive_of_another_type_never_stores_more() {
        let of = |value| {
            let (read, of_target) = Directives::read(&headers(&[("hms-cache-control", value)]));
            assert!(of_target, "{value}");
            read
        };
        for value in ["no-store", "no-store=?0", "private=(\"a\")", "no-cache=5;x"] {
            assert!(of(value).forbids, "{value}");
        }
        for value in [
            "public=?0",
            "public=1",
            "must-revalidate=\"yes\"",
            "public=(a)",
        ] {
            assert!(!of(value).opens, "{value}");
        }
        for value in [
            "max-age=1.0",
            "max-age=-1",
            "max-age=\"1\"",
            "max-age=(1 2)",
        ] {
            assert_eq!(of(value).max_age, Seconds::Wrong, "{value}");
        }
        // Of two, the last counts (RFC 9651 section 4.2.2).
        assert_eq!(of("max-age=1, max-age=2;x=3").max_age, Seconds::Are(2));
        assert!(of("public, max-age=1").opens);
    }

    proptest! {
        /// Whatever stands around it, in whichever line and spelling.
        #[test]
        fn forbidding_directive_cannot_be_hidden(
            before in "([a-z-]{1,8}(=([0-9]{1,3}|\"[a-z, \\\\\"]{0,6}\"?))?[ ,]{0,3}){0,3}",
            after in "[ -~]{0,20}",
            word in prop::sample::select(vec!["no-store", "Private", "NO-CACHE"]),
        ) {
            let value = format!("{before}, {word}");
            prop_assume!(before.matches('"').count() % 2 == 0 && !before.contains('\\'));
            prop_assert!(general(&value).forbids, "{}", value);
            let value = format!("{word} ,{after}");
            prop_assert!(general(&value).forbids, "{}", value);
        }

        #[test]
        fn directive_reader_never_panics(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let value: Vec<u8> = value.into_iter().filter(|b| *b >= 32 && *b != 127).collect();
            for name in ["cache-control", "hms-cache-control"] {
                let field = HeaderValue::from_bytes(&value).unwrap();
                let headers = HeaderMap::from_iter([(HeaderName::from_static(name), field)]);
                Directives::read(&headers);
            }
        }
    }
}
