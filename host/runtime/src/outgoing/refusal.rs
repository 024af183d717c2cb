//! What an operator reads of a request that was refused: the grant that would allow it.

use super::destination::Destination;
use hms_grants::mask::masked_uri;
use hms_grants::{WindowGrants, suggest};
use http::{Method, Uri};

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
    let (reason, sentence) = plain(granted, method, uri);
    (reason, masked_uri(granted, &sentence).into_owned())
}

fn plain(granted: &WindowGrants, method: &Method, uri: &Uri) -> (&'static str, String) {
    let (file, host) = (granted.path(), uri.host().unwrap_or_default());
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
            let remedy = match suggest::entry(granted, method, uri) {
                Ok(entry) => format!("to allow it, add to {file}: outbound: [{entry}]"),
                Err(why) => format!("no entry of 'outbound' in {file} can allow it alone: {why}"),
            };
            let scheme = uri.scheme_str().unwrap_or("https");
            let port = uri.port_u16().map(|port| format!(":{port}"));
            let port = port.unwrap_or_default();
            (
                NO_NETWORK,
                format!("a request to {scheme}://{host}{port} was refused: {remedy}"),
            )
        }
        Err(error) => (
            NOT_GRANTED,
            format!("a request to '{host}' was refused: {error}"),
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
                 outbound: [{to: \"https://api.card.example\", methods: [\"POST\"], paths: [\"/v1\"]}]"
            ),
            "{sentence}"
        );
        let (_, sentence) = said(Method::GET, "http://[2001:db8::1]:8080/");
        assert!(
            sentence.contains(
                "{to: \"http://[2001:db8::1]:8080\", methods: [\"GET\"], paths: [\"/\"]}"
            ),
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
