//! Whether a token is valid here and now: `nbf`, `iss` and `aud` (RFC 7519 section 4.1). For `exp`
//! see [`super::token::Token::expiry`].

use super::claims::{Claims, member};
use serde_json::Value;

/// Refuses claims that begin later than `now_s` plus the leeway.
///
/// # Errors
///
/// Why. A value that is not a number is refused.
pub(super) fn has_begun(claims: &Claims, now_s: u64, leeway_s: u64) -> Result<(), &'static str> {
    let Some(nbf) = member(claims, "nbf") else {
        return Ok(());
    };
    // A cast from f64 saturates; values that are not times are refused before.
    let fraction = || {
        nbf.as_f64()
            .filter(|nbf| (0.0..u64::MAX as f64).contains(nbf))
    };
    let nbf = nbf.as_u64().or_else(|| fraction().map(|nbf| nbf as u64));
    match nbf {
        None => Err("the token's start time (nbf) is not a number"),
        Some(nbf) if nbf > now_s.saturating_add(leeway_s) => {
            Err("the token is not valid yet (nbf)")
        }
        Some(_) => Ok(()),
    }
}

/// Refuses claims of another issuer than `expected`, if that is set.
///
/// # Errors
///
/// Why.
pub(super) fn is_from(claims: &Claims, expected: Option<&str>) -> Result<(), &'static str> {
    match (expected, member(claims, "iss")) {
        (None, _) => Ok(()),
        (Some(expected), Some(Value::String(issuer))) if issuer == expected => Ok(()),
        (_, Some(Value::String(_))) => Err("the token's issuer (iss) is not accepted"),
        (_, Some(_)) => Err("the token's issuer (iss) is not a string"),
        (_, None) => Err("the token has no issuer (iss)"),
    }
}

/// Refuses claims for none of `expected`, unless that is empty.
///
/// # Errors
///
/// Why.
pub(super) fn is_for(claims: &Claims, expected: &[String]) -> Result<(), &'static str> {
    const WRONG: &str = "the token's audience (aud) is neither a string nor a list of strings";
    if expected.is_empty() {
        return Ok(());
    }
    let named = match member(claims, "aud") {
        None => return Err("the token has no audience (aud)"),
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let named: Option<Vec<&str>> = named.iter().map(Value::as_str).collect();
    let mut named = named.ok_or(WRONG)?.into_iter();
    match named.any(|name| expected.iter().any(|ours| ours == name)) {
        true => Ok(()),
        false => Err("the token is for another audience (aud)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn not_before_is_a_past_number_or_absent() {
        for (nbf, expected) in [
            (json!(100), Ok(())),
            (json!(105), Ok(())),
            (json!(100.9), Ok(())),
            (json!(null), Ok(())),
            (json!(106), Err("the token is not valid yet (nbf)")),
            (json!(1e18), Err("the token is not valid yet (nbf)")),
            (
                json!(-1),
                Err("the token's start time (nbf) is not a number"),
            ),
            (
                json!(1e300),
                Err("the token's start time (nbf) is not a number"),
            ),
            (
                json!("0"),
                Err("the token's start time (nbf) is not a number"),
            ),
        ] {
            let found = has_begun(&claims(json!({ "nbf": nbf })), 100, 5);
            assert_eq!(found, expected, "{nbf}");
        }
        assert_eq!(has_begun(&claims(json!({})), 100, 5), Ok(()));
    }

    #[test]
    fn audience_is_one_text_or_a_list() {
        let ours = ["hms".to_string(), "desk".to_string()];
        let other = Err("the token is for another audience (aud)");
        let wrong = Err("the token's audience (aud) is neither a string nor a list of strings");
        for (aud, expected) in [
            (json!("desk"), Ok(())),
            (json!(["x", "hms"]), Ok(())),
            (json!("HMS"), other),
            (json!([]), other),
            (json!(["hms", 1]), wrong),
            (json!({"hms": 1}), wrong),
            (json!(null), Err("the token has no audience (aud)")),
        ] {
            assert_eq!(is_for(&claims(json!({ "aud": aud })), &ours), expected);
        }
        assert_eq!(is_for(&claims(json!({"aud": 1})), &[]), Ok(()));
    }
}
