//! Which content coding a client wants, by its `Accept-Encoding` (RFC 9110 section 12.5.3).

use hms_core::fields::members;
use http::{HeaderMap, HeaderValue, header};

/// Members of an `Accept-Encoding` that are read; fewer codings exist.
const MAX_MEMBERS: usize = 32;

/// A coding that the gateway produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    pub fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        })
    }
}

/// What a client accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptEncoding {
    /// The preferred coding of ours, if it is at least as acceptable as no coding.
    pub coding: Option<Coding>,
    /// Whether an answer without coding is not acceptable.
    pub only_coded: bool,
}

impl AcceptEncoding {
    /// Members that cannot be parsed are ignored.
    pub fn read(headers: &HeaderMap) -> AcceptEncoding {
        let accepted: Vec<(String, f32)> = members(headers, &header::ACCEPT_ENCODING)
            .take(MAX_MEMBERS)
            .filter_map(|text| member(std::str::from_utf8(text).ok()?))
            .collect();
        let named = |names: &[&str]| {
            let found = accepted
                .iter()
                .find(|(name, _)| names.contains(&name.as_str()));
            found.map(|(_, q)| *q)
        };
        let any = named(&["*"]);
        let brotli = named(&["br"]).or(any).unwrap_or(0.0);
        let gzip = named(&["gzip", "x-gzip"]).or(any).unwrap_or(0.0);
        let identity = named(&["identity"]);
        // Of two equally acceptable ones, the one with the smaller result.
        let (coding, best) = match brotli >= gzip {
            true => (Coding::Brotli, brotli),
            false => (Coding::Gzip, gzip),
        };
        let wanted = best > 0.0 && identity.is_none_or(|identity| identity <= best);
        AcceptEncoding {
            coding: wanted.then_some(coding),
            // `identity` is refused only explicitly or by a wildcard.
            only_coded: identity.or(any.filter(|q| *q == 0.0)) == Some(0.0),
        }
    }
}

fn member(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut q = 1.0;
    for part in parts {
        let (key, value) = part.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            q = value.trim().parse().ok()?;
        }
    }
    (0.0..=1.0)
        .contains(&q)
        .then(|| (name.to_ascii_lowercase(), q))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accept_encoding(values: &[&str]) -> AcceptEncoding {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
        }
        AcceptEncoding::read(&headers)
    }

    #[test]
    fn preferred_coding_is_chosen_and_a_refused_one_never() {
        use Coding::{Brotli, Gzip};
        for (value, coding, only_coded) in [
            ("", None, false),
            ("gzip", Some(Gzip), false),
            ("gzip, deflate, br", Some(Brotli), false),
            ("gzip;q=1.0, br;q=0.5", Some(Gzip), false),
            ("GZIP; Q=0.5", Some(Gzip), false),
            ("x-gzip", Some(Gzip), false),
            ("gzip;q=0", None, false),
            ("gzip;q=0.000, br;q=0", None, false),
            ("*", Some(Brotli), false),
            ("*;q=0.5, br;q=0", Some(Gzip), false),
            ("*;q=0", None, true),
            ("gzip, *;q=0", Some(Gzip), true),
            ("gzip, identity;q=0", Some(Gzip), true),
            ("identity;q=0.5, *;q=0", None, false),
            ("identity, gzip;q=0.5", None, false),
            ("identity;q=0.5, gzip", Some(Gzip), false),
            ("zstd, deflate", None, false),
            ("gzip;q=2", None, false),
            ("gzip;q=nan, br;q=-1", None, false),
            ("gzip;q", None, false),
            ("\u{e9}, gzip", Some(Gzip), false),
        ] {
            let expected = AcceptEncoding { coding, only_coded };
            assert_eq!(accept_encoding(&[value]), expected, "{value}");
        }
        assert_eq!(accept_encoding(&["deflate", "gzip"]).coding, Some(Gzip));
        assert_eq!(accept_encoding(&[]), AcceptEncoding::default());
    }

    proptest! {
        #[test]
        fn accept_encoding_parser_never_panics(text in "[ -~]{0,60}") {
            accept_encoding(&[&text]);
        }
    }
}
