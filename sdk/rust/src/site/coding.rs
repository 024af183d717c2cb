//! Which content coding a client gets: RFC 9110, section 12.5.3.

use http::{HeaderMap, header};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
            Coding::Identity => "identity",
        }
    }

    /// What tells its entity tag from that of another coding.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => "-br",
            Coding::Gzip => "-gz",
            Coding::Identity => "",
        }
    }
}

/// The smallest coding that is there and that the client accepts. Its order among those that it
/// accepts is not heeded: browsers have none.
pub(super) fn accepted(headers: &HeaderMap, is_there: impl Fn(Coding) -> bool) -> Coding {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    let values: Vec<&str> = values.iter().filter_map(|it| it.to_str().ok()).collect();
    let codings = [Coding::Brotli, Coding::Gzip].into_iter();
    let mut fitting = codings.filter(|coding| is_there(*coding) && accepts(&values, coding.name()));
    fitting.next().unwrap_or(Coding::Identity)
}

fn accepts(values: &[&str], name: &str) -> bool {
    let mut by_star = false;
    for item in values.iter().flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0_f32))
        });
        if coding.eq_ignore_ascii_case(name) {
            return !refused;
        }
        if coding == "*" {
            by_star = !refused;
        }
    }
    by_star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_accepted_coding_is_sent() {
        for (said, coding) in [
            ("gzip, deflate, br", Coding::Brotli),
            ("gzip", Coding::Gzip),
            ("br;q=0, gzip;q=0.5", Coding::Gzip),
            ("*", Coding::Brotli),
            ("*, br;q=0", Coding::Gzip),
            ("gzip;q=0.0", Coding::Identity),
            ("identity", Coding::Identity),
            ("BR", Coding::Brotli),
            ("brotli", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            assert_eq!(accepted(&headers, |_| true), Coding::Identity);
            headers.append("accept-encoding", said.parse().unwrap());
            assert_eq!(accepted(&headers, |_| true), coding, "{said}");
            assert_eq!(accepted(&headers, |_| false), Coding::Identity, "{said}");
        }
    }
}
