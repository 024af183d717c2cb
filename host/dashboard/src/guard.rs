//! Which requests a browser may send here.
//!
//! A page of another site can have a browser send requests to the admin listener. Two rules keep
//! them out. The `Host` must be an address or a known name, so that a name which somebody lets
//! resolve to this address (DNS rebinding) is refused. And a request that changes something must
//! come from our own page: cookies ignore ports, so `SameSite` does not tell our pages from those
//! of a window on another port of the same address.

use crate::reply;
use hms_core::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use std::net::{IpAddr, Ipv6Addr};

/// The names by which the dashboard may be asked for, beside addresses and `localhost`.
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Hosts(names)
    }

    /// # Errors
    /// The refusal of a request for another name.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Box<Response<Body>>> {
        let mut fields = headers.get_all(header::HOST).iter();
        let (field, more) = (fields.next(), fields.next());
        let shown = field.and_then(|host| host.to_str().ok());
        let host = match (uri.authority(), shown, more) {
            (Some(authority), _, None) => Some(authority.as_str()),
            (None, shown, None) => shown,
            _ => None,
        };
        match host.is_some_and(|host| self.allows(host)) {
            true => Ok(()),
            false => Err(Box::new(reply::problem(
                StatusCode::MISDIRECTED_REQUEST,
                "this name is not one of the dashboard: use its address or localhost, or name it \
                 with --admin-host",
            ))),
        }
    }

    /// Nobody can let an address resolve to another one, so all of them are allowed.
    fn allows(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let bracketed = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match bracketed {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            None => {
                name.parse::<IpAddr>().is_ok()
                    || name == "localhost"
                    || name.ends_with(".localhost")
                    || self.0.contains(&name)
            }
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a request that may change something comes from one of our own pages: by
/// `Sec-Fetch-Site`, and where a browser does not send it (plain HTTP off this machine), by
/// `Origin`, which must be the `Host`.
///
/// # Errors
/// The refusal.
pub(crate) fn check_same_origin(headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
    let text = |name: header::HeaderName| -> Option<&str> {
        headers.get(name).map(HeaderValue::to_str)?.ok()
    };
    let same = match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
            let origin = origin.map(|(_, authority)| authority);
            origin.is_some() && origin == text(header::HOST)
        }
    };
    match same {
        true => Ok(()),
        false => Err(Box::new(reply::problem(
            StatusCode::FORBIDDEN,
            "this request does not come from a page of the dashboard",
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn name_that_is_not_ours_is_refused_and_addresses_are_not() {
        let hosts = Hosts::new(vec!["hms.example".into()]);
        let check =
            |host: &str| hosts.check(&headers(&[("host", host)]), &Uri::from_static("/ui/"));
        for host in [
            "127.0.0.1:9001",
            "localhost:9001",
            "LOCALHOST",
            "a.localhost:1",
            "[::1]:9001",
            "[fe80::1]",
            "10.1.2.3",
            "hms.example",
            "HMS.example:443",
        ] {
            assert!(check(host).is_ok(), "{host}");
        }
        for host in [
            "evil.example:9001",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "x.hms.example",
            "[::1",
            "",
            ":9001",
        ] {
            assert!(check(host).is_err(), "{host}");
        }
        let none = hosts.check(&HeaderMap::new(), &Uri::from_static("/ui/"));
        assert!(none.is_err());
    }

    #[test]
    fn only_a_page_of_the_same_origin_may_change_something() {
        let host = ("host", "127.0.0.1:9001");
        for (fields, is_same) in [
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("origin", "http://127.0.0.1:9001")], true),
            (vec![("origin", "http://127.0.0.1:9000")], false),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (
                vec![
                    ("sec-fetch-site", "same-site"),
                    ("origin", "http://127.0.0.1:9001"),
                ],
                false,
            ),
            (vec![], false),
        ] {
            let mut all = fields.clone();
            all.push(host);
            assert_eq!(
                check_same_origin(&headers(&all)).is_ok(),
                is_same,
                "{fields:?}"
            );
        }
    }
}
