//! What an operator reads of a request that was refused: the grant that would allow it.

use super::destination::Destination;
use hms_grants::WindowGrants;
use hms_grants::mask::masked_uri;
use http::{Method, Uri};
use std::path::Path;

/// The reason of a refused request to a service.
pub(super) const NO_NETWORK: &str = "no-network";

/// The reason of a refused call of a window.
pub(super) const NOT_GRANTED: &str = "not-granted";

/// Under which it is counted, and the sentence, without the values of secrets. `granted` is what
/// the window is granted.
pub(super) fn not_granted(
    granted: &WindowGrants,
    method: &Method,
    uri: &Uri,
) -> (&'static str, String) {
    let (reason, sentence) = plain(&granted.path(), method, uri);
    (reason, masked_uri(granted, &sentence).into_owned())
}

fn plain(file: &Path, method: &Method, uri: &Uri) -> (&'static str, String) {
    let file = file.display();
    match Destination::of(uri) {
        Ok(Destination::Window(callee)) => (
            NOT_GRANTED,
            format!(
                "a call of window '{callee}' was refused: to allow it, add to {file}: \
                 calls: [{callee}]"
            ),
        ),
        Ok(Destination::Service) => {
            let scheme = uri.scheme_str().unwrap_or("https");
            let port = uri.port_u16().map(|port| format!(":{port}"));
            let host = uri.host().unwrap_or_default();
            let origin = format!("{scheme}://{host}{}", port.unwrap_or_default());
            (
                NO_NETWORK,
                format!(
                    "a request to {origin} was refused: to allow it, add to {file}: outbound: \
                     [{{to: \"{origin}\", methods: [\"{method}\"]}}]"
                ),
            )
        }
        Err(error) => (
            NOT_GRANTED,
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
    use hms_grants::Secret;

    #[test]
    fn refusal_names_the_grant_that_would_allow_it() {
        let granted = WindowGrants {
            folder: "windows".into(),
            file: "payments.yaml".into(),
            secrets: [("key".to_owned(), Secret::new(b"s3cret-4711".to_vec()))].into(),
            ..WindowGrants::default()
        };
        let said = |method, uri: &str| not_granted(&granted, &method, &uri.parse().unwrap());
        let (reason, sentence) = said(Method::POST, "https://user:key@api.card.example/v1?a=b");
        assert_eq!(reason, "no-network");
        assert!(
            sentence.ends_with(
                "add to windows/payments.yaml: \
                 outbound: [{to: \"https://api.card.example\", methods: [\"POST\"]}]"
            ),
            "{sentence}"
        );
        let (_, sentence) = said(Method::GET, "http://[2001:db8::1]:8080/");
        assert!(
            sentence.contains("{to: \"http://[2001:db8::1]:8080\", methods: [\"GET\"]}"),
            "{sentence}"
        );
        let (reason, sentence) = said(Method::GET, "http://hms-svc-docs/");
        assert_eq!(reason, "not-granted");
        assert!(
            sentence.ends_with("add to windows/payments.yaml: calls: [docs]"),
            "{sentence}"
        );
        for uri in ["http://hms-svc-s3cret-4711/", "http://S3CRET-4711.example/"] {
            let (_, sentence) = said(Method::GET, uri);
            let found = sentence.to_lowercase().contains("s3cret");
            assert!(!found && sentence.contains("***"), "{sentence}");
        }
        let (_, sentence) = said(Method::GET, "https://hms-svc-docs/");
        assert!(sentence.contains("http://"), "{sentence}");
    }
}
