//! The line of a grants file that would allow a call which was refused: that call, and no other.

use crate::file::GrantsFile;
use crate::mask::masked_uri;
use crate::outbound::canonical_host;
use crate::{OutboundGrant, WindowGrants};
use hms_core::path::{Oddities, Pattern, read_path};
use hms_manifest::Manifest;
use http::{Method, Uri};
use ipnet::IpNet;
use std::net::IpAddr;

/// Bytes of an entry that is worth a line of a log, of which a window's log keeps 4 KiB.
const MAX_ENTRY: usize = 2 << 10;

/// The entry of `outbound` that allows a call of `uri`, which is absolute, by `method`, as one line
/// of YAML: `{to: "https://a.example", methods: ["POST"], paths: ["/v1"]}`. A file with it can be
/// read, and it allows no other method, origin or path. Where the host of `uri` is an address of
/// this machine or of a network around it, it has that as `private: ["10.1.0.7/32"]`, too. No
/// secret of `granted` is in it. The SDKs say of a refused call the same entry in the same form.
///
/// # Errors
/// Why no entry can be written for this call alone.
pub fn entry(granted: &WindowGrants, method: &Method, uri: &Uri) -> Result<String, String> {
    let origin = origin(uri)?;
    let (path, odd) = match uri.path() {
        "" => read_path("/")?,
        path => read_path(path)?,
    };
    odd.within(Oddities::default())?;
    if masked_uri(granted, &origin) != origin || masked_uri(granted, &path) != path {
        return Err("the URL has the value of a secret".into());
    }
    let is_it =
        |pattern: Pattern| !pattern.is_below() && !pattern.has_names() && pattern.matches(&path);
    if !Pattern::parse(&path).is_ok_and(is_it) {
        return Err("no pattern stands for this path alone".into());
    }
    let mut entry = format!(
        "{{to: {}, methods: [{}], paths: [{}]",
        quoted(&origin),
        quoted(method.as_str()),
        quoted(&path)
    );
    if let Some(address) = address(uri).filter(is_near) {
        entry.push_str(&format!(", {}", networks(&[IpNet::from(address)])));
    }
    entry.push('}');
    if entry.len() > MAX_ENTRY {
        return Err("its entry would be too long".into());
    }
    // Whatever it has that no file may have, its reader says.
    match GrantsFile::parse("w", &format!("outbound: [{entry}]\n")) {
        Ok(_) => Ok(entry),
        Err(faults) => {
            let reason = faults.into_iter().next().map(|fault| fault.reason);
            let reason = reason.unwrap_or_default();
            // Without the place in this file of one line.
            let said = reason.split_once(": ").map(|(_, said)| said.to_owned());
            Err(said.unwrap_or(reason))
        }
    }
}

/// What to write in `entry` so that it may connect to `address` as well, as one line of YAML:
/// `private: ["10.1.0.7/32"]`, with the networks that it has already.
pub fn private(entry: &OutboundGrant, address: IpAddr) -> String {
    let had = entry.private.iter().copied();
    networks(&had.chain([IpNet::from(address)]).collect::<Vec<_>>())
}

fn networks(networks: &[IpNet]) -> String {
    let networks: Vec<String> = networks
        .iter()
        .map(|net| quoted(&net.to_string()))
        .collect();
    format!("private: [{}]", networks.join(", "))
}

/// The host of a URI that has an address and no name.
fn address(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether it is of this machine or of a network around it. Other addresses that are not of the
/// public internet are not suggested: link-local ones have the cloud's metadata.
fn is_near(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// Scheme, host and port as a file has them.
fn origin(uri: &Uri) -> Result<String, String> {
    let (scheme, authority) = (uri.scheme_str(), uri.authority());
    let (Some(scheme), Some(authority)) = (scheme, authority) else {
        return Err("the URL has no scheme or no host".into());
    };
    let bracketed = authority.host().starts_with('[');
    let host = canonical_host(authority.host())?;
    let host = if bracketed { format!("[{host}]") } else { host };
    let usual = matches!(
        (scheme, authority.port_u16()),
        (_, None) | ("https", Some(443)) | ("http", Some(80))
    );
    Ok(match authority.port_u16() {
        Some(port) if !usual => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

/// As YAML in double quotes, which reads JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn of(method: &str, uri: &str) -> Result<String, String> {
        let granted = WindowGrants {
            secrets: [("key".to_owned(), Secret::new(b"s3cret-4711".to_vec()))].into(),
            ..WindowGrants::default()
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        entry(&granted, &method, &uri.parse().unwrap())
    }

    #[test]
    fn entry_is_for_this_method_origin_and_path() {
        for (method, uri, expected) in [
            (
                "POST",
                "https://API.card.example.:443/v1/charges?a=b",
                r#"{to: "https://api.card.example", methods: ["POST"], paths: ["/v1/charges"]}"#,
            ),
            (
                "GET",
                "http://[2001:db8::1]:8080",
                r#"{to: "http://[2001:db8::1]:8080", methods: ["GET"], paths: ["/"]}"#,
            ),
            (
                "GET",
                "http://a.example/%7Eme/%7bid%7d/",
                r#"{to: "http://a.example", methods: ["GET"], paths: ["/~me/%7Bid%7D/"]}"#,
            ),
            (
                "GET",
                "http://10.1.0.7:8080/a",
                r#"{to: "http://10.1.0.7:8080", methods: ["GET"], paths: ["/a"], private: ["10.1.0.7/32"]}"#,
            ),
            (
                "GET",
                "http://[::1]/a",
                r#"{to: "http://[::1]", methods: ["GET"], paths: ["/a"], private: ["::1/128"]}"#,
            ),
        ] {
            assert_eq!(of(method, uri).as_deref(), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn call_that_no_entry_allows_alone_has_none_and_the_reason() {
        for (method, uri, reason) in [
            ("GET", "https://a.example/v1/**", "no pattern"),
            ("GET", "https://a.example/v1*", "no pattern"),
            ("GET", "https://a.example/a%2Fb", "encoded slash"),
            ("GET", "https://a.example/a//b", "empty segment"),
            ("GET", "https://a.example/../b", "dot segment"),
            ("post", "https://a.example/", "in capital letters"),
            ("*", "https://a.example/", "not a method"),
            ("GET", "ftp://a.example/", "does not begin with https://"),
            ("GET", "http://127.1/", "four numbers"),
            ("GET", "https://a.example/s3cret-4711", "value of a secret"),
            ("GET", "https://S3CRET-4711.example/", "value of a secret"),
        ] {
            let said = of(method, uri).unwrap_err();
            assert!(said.contains(reason), "{method} {uri}: {said}");
            assert!(!said.to_lowercase().contains("s3cret"), "{said}");
        }
        let long = format!("https://a.example/{}", "a".repeat(3000));
        assert!(of("GET", &long).is_err());
    }

    #[test]
    fn networks_that_an_entry_has_stay_in_what_to_write() {
        let file = GrantsFile::parse(
            "w",
            "outbound: [{to: 'http://a.example', private: [10.1.0.0/16]}]",
        );
        let entry = &file.unwrap().grants.outbound[0];
        assert_eq!(
            private(entry, "192.168.0.7".parse().unwrap()),
            r#"private: ["10.1.0.0/16", "192.168.0.7/32"]"#
        );
        let line = private(entry, "::1".parse().unwrap());
        let text = format!("outbound:\n  - to: http://a.example\n    {line}\n");
        let read = GrantsFile::parse("w", &text).unwrap().grants;
        assert_eq!(read.outbound[0].private[1].to_string(), "::1/128");
    }
}
