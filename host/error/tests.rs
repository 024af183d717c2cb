//! What clients are told, and what not.

/// Each code as it stands in the source, so that a new one cannot be forgotten here.
fn codes() -> Vec<&'static str> {
    let source = include_str!("../error.rs");
    let end = source.find("pub fn never_ran").unwrap();
    let mut codes: Vec<_> = source[source.find("fn parts").unwrap()..end]
        .split('"')
        .skip(1)
        .step_by(4)
        .collect();
    codes.dedup();
    codes
}

use super::*;

/// What no client may read: as a guest, a service or the system could have said it.
const PRIVATE: &str = "open /srv/secret: token=hunter2 at 10.9.8.7:5432 (os error 111)";

/// Each variant that carries words of others, by its name in the source.
fn with_private_words() -> Vec<RequestError> {
    let cause = || Cause::of(PRIVATE);
    let window = || PRIVATE.to_string();
    vec![
        RequestError::BodyBroken(cause()),
        RequestError::UpstreamRefused(cause()),
        RequestError::UpstreamUnreachable(cause()),
        RequestError::UpstreamBroken(cause()),
        RequestError::InstanceStart(cause()),
        RequestError::NoResponse(cause()),
        RequestError::ResponseInvalid(cause()),
        RequestError::Internal(cause()),
        RequestError::WindowNotDeployed { window: window() },
        RequestError::WindowStopped { window: window() },
        RequestError::WindowTripped {
            window: window(),
            retry_after: Duration::ZERO,
        },
        RequestError::StoreUnavailable { window: window() },
    ]
}

#[test]
fn private_words_are_for_the_log_and_no_client_reads_them() {
    for error in with_private_words() {
        let answer = error.answer(Some("id"));
        let public = format!(
            "{error} {} {:?}",
            String::from_utf8_lossy(answer.body()),
            answer.headers()
        );
        assert!(!public.contains("secret"), "{public}");
        assert!(error.in_full().contains(PRIVATE), "{}", error.in_full());
    }
}

/// A variant that holds a `String` is named here, with the reason why a client may read it.
#[test]
fn every_variant_holds_public_words_or_a_cause() {
    const PUBLIC: [(&str, &str); 4] = [
        ("BodyTooSlow(String)", "made of bounds"),
        (
            "allow: String",
            "methods of routes, which Allow names as well",
        ),
        (
            "needed: String",
            "scopes, which the challenge names as well",
        ),
        ("method: String", "the request's own"),
    ];
    let source = include_str!("../error.rs");
    let variants = &source[source.find("pub enum RequestError").unwrap()..];
    let variants = &variants[..variants.find("\n}").unwrap()];
    for line in variants.lines().filter(|line| line.contains("String")) {
        // Windows' names are a cause: see `RequestError::cause`.
        let known = line.contains("window: String")
            || PUBLIC.iter().any(|(variant, _)| line.contains(variant));
        assert!(known, "{line}: may a client read it? If not, it is a Cause");
    }
    let causes = variants.matches("(Cause)").count() + variants.matches("window: String").count();
    assert_eq!(causes, with_private_words().len());
}

#[test]
fn the_operators_page_has_every_code() {
    let page = include_str!("../../docs/limits.md");
    let codes = codes();
    assert!(
        codes.contains(&"cpu-time") && codes.contains(&"internal"),
        "{codes:?}"
    );
    for code in codes {
        assert!(
            page.contains(&format!("| `{code}` |")),
            "docs/limits.md lacks `{code}`"
        );
    }
}
