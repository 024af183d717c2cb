//! OpenID Connect Discovery 1.0: where a provider publishes its keys.

use super::source::key_url;
use http::Uri;
use serde::Deserialize;

/// Section 4.
const PATH: &str = "/.well-known/openid-configuration";

/// Characters of a provider's text in a message.
const SHOWN: usize = 200;

/// Where the provider `issuer` describes itself (section 4.1).
///
/// # Errors
///
/// A sentence, if `issuer` is not an https URL, or has a query or fragment, which section 2
/// excludes.
pub(super) fn configuration_url(issuer: &str) -> Result<Uri, String> {
    if issuer.contains(['?', '#']) {
        return Err(format!(
            "'{issuer}' cannot be discovered: an issuer has no query and no fragment; name its keys with jwks"
        ));
    }
    // Checked unchanged, so that the message repeats what the operator wrote.
    key_url(issuer).map_err(|reason| {
        format!("an issuer without jwks is asked for its keys (OIDC discovery), and {reason}")
    })?;
    key_url(&format!("{}{PATH}", issuer.trim_end_matches('/')))
}

/// The members that matter. Serde refuses repeated ones.
#[derive(Deserialize)]
struct Provider {
    issuer: String,
    jwks_uri: String,
}

/// The URL of the keys in the `configuration` that `issuer` returned.
///
/// # Errors
///
/// A sentence, if it is the configuration of another issuer (section 4.3: they must be identical),
/// or if its keys would be fetched without TLS.
pub(super) fn jwks_uri(issuer: &str, configuration: &[u8]) -> Result<Uri, String> {
    let provider: Provider = serde_json::from_slice(configuration)
        .map_err(|error| format!("its openid-configuration cannot be read: {error}"))?;
    if provider.issuer != issuer {
        let said: String = provider.issuer.chars().take(SHOWN).collect();
        return Err(format!(
            "its openid-configuration is that of the issuer {said:?}, not of {issuer:?}: if that \
             is the one you mean, write it exactly so"
        ));
    }
    key_url(&provider.jwks_uri).map_err(|reason| format!("its jwks_uri: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_url_is_below_the_issuer() {
        for (issuer, url) in [
            (
                "https://id.example",
                "https://id.example/.well-known/openid-configuration",
            ),
            (
                "https://id.example/realms/town/",
                "https://id.example/realms/town/.well-known/openid-configuration",
            ),
            (
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(configuration_url(issuer).unwrap().to_string(), url);
        }
        for issuer in [
            "http://id.example",
            "https://id.example?tenant=1",
            "https://id.example#a",
            "id.example",
            "ftp://id.example",
            "staff",
            "",
        ] {
            assert!(configuration_url(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn discovery_document_must_name_its_own_issuer_and_a_safe_key_url() {
        let of = |issuer: &str, keys: &str| {
            let json = format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "more": 1}}"#);
            jwks_uri("https://id.example", json.as_bytes())
        };
        let keys = "https://keys.example/1";
        assert_eq!(of("https://id.example", keys).unwrap(), keys);
        for other in [
            "https://id.example/",
            "https://ID.example",
            "https://evil.example",
        ] {
            let sentence = of(other, keys).unwrap_err();
            assert!(sentence.contains("issuer"), "{sentence}");
        }
        for unsafe_keys in ["http://keys.example/1", "keys.json", "file:///etc/passwd"] {
            assert!(
                of("https://id.example", unsafe_keys).is_err(),
                "{unsafe_keys}"
            );
        }
        let twice = r#"{"issuer": "https://evil.example", "issuer": "https://id.example", "jwks_uri": "https://k.example"}"#;
        assert!(jwks_uri("https://id.example", twice.as_bytes()).is_err());
        assert!(jwks_uri("https://id.example", b"<html>").is_err());
    }
}
