//! What a refusal says in `WWW-Authenticate` (RFC 6750 section 3).

use super::*;
use hms_core::error::{RequestError, TABLE};

fn challenge(error: AuthError) -> (u16, Option<String>) {
    let response = RequestError::from(error).response(None);
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_string());
    (response.status().as_u16(), challenge)
}

async fn refused(authorization: &[&str], rule: &Rule, method: Method) -> AuthError {
    let (_dir, _, verifier) = dev();
    refused_by(&verifier, authorization, rule, method).await
}

async fn refused_by(
    verifier: &Verifier,
    authorization: &[&str],
    rule: &Rule,
    method: Method,
) -> AuthError {
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append("authorization", value.parse().unwrap());
    }
    match verifier.caller(&headers, rule).await {
        Ok(caller) => rule.admit(&caller, &method).unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn challenge_without_a_token_has_no_error_code() {
    for nothing in [&[][..], &["Basic YTpi"], &["Digest x=y"]] {
        let error = refused(nothing, &Rule::default(), Method::GET).await;
        let expected = (401, Some("Bearer realm=\"hms\"".to_string()));
        assert_eq!(challenge(error), expected, "{nothing:?}");
    }
}

#[tokio::test]
async fn challenge_for_a_bad_token_states_the_reason() {
    for (bad, reason) in [
        (&["Bearer x"][..], "the token is not a JWT"),
        (
            &["Bearer x", "Bearer x"],
            "more than one Authorization header",
        ),
    ] {
        let error = refused(bad, &Rule::default(), Method::GET).await;
        let expected = format!(
            "Bearer realm=\"hms\", error=\"invalid_token\", error_description=\"{reason}\""
        );
        assert_eq!(challenge(error), (401, Some(expected)));
    }
    // Nothing of what a client sends may end the quotes.
    let error = AuthError::Unauthorized {
        reason: "a \"quote\", a \\ and é\r\n",
        token_sent: true,
    };
    let (_, said) = challenge(error);
    assert!(said.unwrap().ends_with("=\"a quote, a  and \""));
}

#[tokio::test]
async fn challenge_for_missing_scopes_names_them() {
    let (_dir, secret, verifier) = dev();
    let token = issue_token(&secret, "alice", &[], Duration::from_secs(60)).unwrap();
    let bearer = format!("Bearer {token}");
    for (scopes, method, expected) in [
        (
            &["a.write", "a.read", "b"][..],
            Method::GET,
            ", scope=\"a.read b\"",
        ),
        (&["a.write"], Method::POST, ", scope=\"a.write\""),
        // No scope would do.
        (&["a.write"], Method::GET, ""),
    ] {
        let rule = Rule {
            scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
            ..Rule::default()
        };
        let error = refused_by(&verifier, &[&bearer], &rule, method).await;
        let expected = format!("Bearer realm=\"hms\", error=\"insufficient_scope\"{expected}");
        assert_eq!(challenge(error), (403, Some(expected)));
    }
}

#[test]
fn failure_that_no_token_would_cure_sends_no_challenge() {
    assert_eq!(challenge(AuthError::KeysUnavailable).1, None);
    for row in TABLE {
        let response = RequestError::new(row.problem, "").response(None);
        assert!(
            !response.headers().contains_key("www-authenticate"),
            "{row:?}"
        );
    }
}
