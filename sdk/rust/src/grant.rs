//! The entry of a grants file that allows a call, as the host says it of the same call.

use http::Method;
use std::net::IpAddr;

/// The line that allows a call of a service, and no other: `outbound: [{to: …}]`, or `calls:
/// [docs]` where the URL names a window.
pub(crate) fn of_service(scheme: &str, authority: &str, method: &Method, path: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    let host = host_of(authority);
    if let Some(window) = window_of(host) {
        return of_window(window);
    }
    let private = match private(host) {
        Some(network) => format!(", private: [{}]", quoted(&network)),
        None => String::new(),
    };
    format!(
        "outbound: [{{to: {}, methods: [{}], paths: [{}]{private}}}]",
        quoted(&format!("{scheme}://{authority}")),
        quoted(method.as_str()),
        quoted(&literal(path)),
    )
}

/// The line that allows a call of a window.
pub(crate) fn of_window(window: &str) -> String {
    format!("calls: [{window}]")
}

/// Without the port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// The window that is meant by the host of a URL: windows are granted by their names.
fn window_of(host: &str) -> Option<&str> {
    let window = host.strip_prefix("hms-svc-");
    window.or_else(|| host.strip_suffix(".spin.internal"))
}

/// The network of an address of this machine or of a network around it, which a grant has to name.
fn private(host: &str) -> Option<String> {
    let address = host.trim_matches(['[', ']']).parse().ok()?;
    let (near, bits) = match address {
        IpAddr::V4(v4) => (v4.is_loopback() || v4.is_private(), 32),
        IpAddr::V6(v6) => (v6.is_loopback() || v6.is_unique_local(), 128),
    };
    near.then(|| format!("{address}/{bits}"))
}

/// A path without what stands for other paths in a pattern.
fn literal(path: &str) -> String {
    match path {
        "" => "/".to_owned(),
        path => path
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('*', "%2A"),
    }
}

/// As YAML in double quotes, which reads JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_for_this_method_origin_and_path() {
        for (scheme, authority, path, expected) in [
            (
                "https",
                "API.card.example:443",
                "/v1/charges",
                r#"{to: "https://api.card.example", methods: ["POST"], paths: ["/v1/charges"]}"#,
            ),
            (
                "http",
                "[2001:db8::1]:8080",
                "",
                r#"{to: "http://[2001:db8::1]:8080", methods: ["POST"], paths: ["/"]}"#,
            ),
            (
                "http",
                "a.example",
                "/{id}/**",
                r#"{to: "http://a.example", methods: ["POST"], paths: ["/%7Bid%7D/%2A%2A"]}"#,
            ),
        ] {
            let line = of_service(scheme, authority, &Method::POST, path);
            assert_eq!(line, format!("outbound: [{expected}]"));
        }
    }

    #[test]
    fn address_of_a_private_network_is_in_the_entry() {
        for (host, network) in [
            ("127.0.0.1", Some("127.0.0.1/32")),
            ("10.1.0.7", Some("10.1.0.7/32")),
            ("172.31.0.1", Some("172.31.0.1/32")),
            ("192.168.0.1", Some("192.168.0.1/32")),
            ("169.254.169.254", None),
            ("[::1]", Some("::1/128")),
            ("[fd00::1]", Some("fd00::1/128")),
            ("[fe80::1]", None),
            ("172.32.0.1", None),
            ("192.0.2.7", None),
            ("[2001:db8::1]", None),
            ("localhost", None),
        ] {
            let line = of_service("http", &format!("{host}:8080"), &Method::GET, "/");
            let expected = network.map(|net| format!("paths: [\"/\"], private: [\"{net}\"]}}]"));
            match expected {
                Some(end) => assert!(line.ends_with(&end), "{line}"),
                None => assert!(!line.contains("private"), "{line}"),
            }
        }
    }

    #[test]
    fn window_is_granted_by_its_name() {
        for authority in ["hms-svc-docs", "hms-svc-docs:8080", "docs.spin.internal"] {
            let line = of_service("http", authority, &Method::GET, "/");
            assert_eq!(line, "calls: [docs]");
        }
    }
}
