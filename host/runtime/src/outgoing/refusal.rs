//! What an operator reads of a request that was refused: the grant that would allow it.

use super::destination::Destination;
use http::{Method, Uri};

/// Under which it is counted, and the sentence.
pub(super) fn not_granted(window: &str, method: &Method, uri: &Uri) -> (&'static str, String) {
    match Destination::of(uri) {
        Ok(Destination::Window(callee)) => (
            "not-granted",
            format!(
                "a call of window '{callee}' was refused: to allow it, add to windows/{window}.yaml: \
                 calls: [{callee}]"
            ),
        ),
        Ok(Destination::Service) => {
            let scheme = uri.scheme_str().unwrap_or("https");
            let port = uri.port_u16().map(|port| format!(":{port}"));
            let host = uri.host().unwrap_or_default();
            let origin = format!("{scheme}://{host}{}", port.unwrap_or_default());
            (
                "no-network",
                format!(
                    "a request to {origin} was refused: to allow it, add to \
                     windows/{window}.yaml: outbound: [{{to: {origin}, methods: [{method}]}}]"
                ),
            )
        }
        Err(error) => (
            "not-granted",
            format!(
                "a request to '{}' was refused: {error}",
                uri.host().unwrap_or_default()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_grant_that_would_allow_it() {
        let said = |method, uri: &str| not_granted("payments", &method, &uri.parse().unwrap());
        let (reason, sentence) = said(Method::POST, "https://user:key@api.card.example/v1?a=b");
        assert_eq!(reason, "no-network");
        assert!(
            sentence.ends_with(
                "add to windows/payments.yaml: \
                 outbound: [{to: https://api.card.example, methods: [POST]}]"
            ),
            "{sentence}"
        );
        let (_, sentence) = said(Method::GET, "http://[2001:db8::1]:8080/");
        assert!(
            sentence.contains("{to: http://[2001:db8::1]:8080, methods: [GET]}"),
            "{sentence}"
        );
        let (reason, sentence) = said(Method::GET, "http://hms-svc-docs/");
        assert_eq!(reason, "not-granted");
        assert!(
            sentence.ends_with("add to windows/payments.yaml: calls: [docs]"),
            "{sentence}"
        );
        let (_, sentence) = said(Method::GET, "https://hms-svc-docs/");
        assert!(sentence.contains("http://"), "{sentence}");
    }
}
