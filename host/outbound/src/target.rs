//! Where a request is to go, read once and strictly: what is matched is what is asked.

use hms_core::outgoing::CallError;
use hms_core::path::{Oddities, check_query, read_path};
use hms_grants::outbound::{authority, canonical_host, usual_port};
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use std::fmt;

/// Bytes of a URI: more than services commonly take.
const MAX_URI: usize = 16 << 10;

/// A checked URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) origin: Origin,
    /// In its one form.
    pub(crate) path: String,
    /// What of it services read differently.
    pub(crate) odd: Oddities,
    query: Option<String>,
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// In lower case, without a trailing dot; addresses in their usual form, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Reads an absolute URI.
    ///
    /// # Errors
    /// [`CallError::UriInvalid`].
    pub(crate) fn read(uri: &Uri) -> Result<Target, CallError> {
        let bad = |why| Err(CallError::UriInvalid(why));
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return bad("it has no scheme or no host");
        };
        let origin = Origin::read(scheme, authority).map_err(CallError::UriInvalid)?;
        let (path, odd) = read_path(uri.path()).map_err(CallError::UriInvalid)?;
        let query = uri.query().map(str::to_owned);
        let length = path.len() + query.as_ref().map_or(0, |query| query.len() + 1);
        if length > MAX_URI {
            return bad("it is longer than 16 KiB");
        }
        if let Some(query) = &query {
            check_query(query).map_err(CallError::UriInvalid)?;
        }
        Ok(Target {
            origin,
            path,
            odd,
            query,
        })
    }

    /// The URI that is asked.
    ///
    /// # Errors
    /// [`CallError::UriInvalid`].
    pub(crate) fn uri(&self) -> Result<Uri, CallError> {
        let build = || {
            let mut text = self.path.clone();
            if let Some(query) = &self.query {
                text.push('?');
                text.push_str(query);
            }
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.origin.scheme.clone());
            parts.authority = Some(self.origin.authority().parse::<Authority>().ok()?);
            parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
            Uri::from_parts(parts).ok()
        };
        build().ok_or(CallError::UriInvalid("it is not a URI"))
    }
}

impl Origin {
    fn read(scheme: &Scheme, authority: &Authority) -> Result<Origin, &'static str> {
        let usual = match usual_port(scheme) {
            Some(port) => port,
            None => return Err("its scheme is neither http nor https"),
        };
        if authority.as_str().contains('@') {
            return Err("user information before the host is not accepted");
        }
        let host = canonical_host(authority.host())?;
        // What is behind the host is a port, or nothing.
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, digits)) if !digits.contains(']') => {
                let port = digits.parse().ok().filter(|port| *port != 0);
                port.ok_or("its port is not from 1 to 65535")?
            }
            _ => usual,
        };
        Ok(Origin {
            scheme: scheme.clone(),
            host,
            port,
        })
    }

    /// As `Host` has it: without the scheme's own port.
    pub(crate) fn authority(&self) -> String {
        authority(&self.scheme, &self.host, self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(uri: &str) -> Result<Target, CallError> {
        Target::read(&uri.parse().map_err(|_| CallError::UriInvalid("unparsed"))?)
    }

    #[test]
    fn uri_has_one_form_and_is_asked_in_it() {
        for (given, asked) in [
            ("https://API.Card.Example", "https://api.card.example/"),
            (
                "https://api.card.example.:443/a?b=%2F",
                "https://api.card.example/a?b=%2F",
            ),
            (
                "http://a.example:443/%7Ea/%5b",
                "http://a.example:443/~a/%5B",
            ),
            (
                "https://a.example:8443/#fragment",
                "https://a.example:8443/",
            ),
            ("http://[::FFFF:1.2.3.4]:80/", "http://[::ffff:1.2.3.4]/"),
            ("http://127.0.0.1:8080/a%2Fb", "http://127.0.0.1:8080/a%2Fb"),
        ] {
            let target = read(given).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(target.uri().unwrap().to_string(), asked, "{given}");
        }
    }

    #[test]
    fn uri_that_two_readers_could_read_differently_is_refused() {
        for uri in [
            "/relative",
            "ftp://a.example/",
            "https://user@a.example/",
            "https://user:secret@a.example/",
            "https://a.example@evil.example/",
            "https://a.example:0/",
            "https://a.example:65536/",
            "https://a.example:/",
            "https://a..example/",
            "https://.example/",
            "https://a%2eexample/",
            "https://a$example/",
            "http://[fe80::1%25eth0]/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "https://a.example/a/../b",
            "https://a.example/a/%2e%2E/b",
            "https://a.example/a/..%2Fb",
            "https://a.example/a%5Cb",
            "https://a.example/a%0d%0ab",
            "https://a.example//b",
            "https://a.example/a%zz",
            "https://bücher.example/",
        ] {
            assert!(matches!(read(uri), Err(CallError::UriInvalid(_))), "{uri}");
        }
    }

    proptest! {
        /// What was read is read again as the same.
        #[test]
        fn form_of_a_uri_is_its_own_form(
            host in "[a-zA-Z0-9.-]{1,12}\\.?", port in "(:[0-9]{1,5})?",
            path in "[a-zA-Z0-9/%.~\\[\\]\\\\;=-]{0,16}", query in "(\\?[ -~]{0,8})?",
        ) {
            let Ok(first) = read(&format!("https://{host}{port}/{path}{query}")) else {
                return Ok(());
            };
            let again = first.uri().unwrap();
            prop_assert_eq!(Target::read(&again), Ok(first));
        }
    }
}
