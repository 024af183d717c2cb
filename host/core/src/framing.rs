//! What may be a final answer, whoever made it (RFC 9110 sections 6.4, 8.6 and 15).

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};

/// Whether an answer of `status` to a request of `method` has no content, whatever its fields say.
/// That of HEAD has the fields of one.
pub fn is_bodyless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// The length that the fields tell, if they tell one.
///
/// # Errors
///
/// Where they tell several, or what is no number of bytes.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    if lengths.next().is_some() {
        return Err("there is more than one content-length".into());
    }
    let text = first.to_str().unwrap_or_default();
    // `parse` alone would take a sign.
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if number => Ok(Some(length)),
        _ => Err(format!("content-length is {first:?}")),
    }
}

/// Whether HTTP can carry an answer to a request of `method`: it is final, and what its fields say
/// of its length is so. `bytes` is the size of the body, where that is known.
///
/// # Errors
///
/// Why not.
pub fn check(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    bytes: Option<u64>,
) -> Result<(), String> {
    if status.is_informational() {
        return Err(format!("status {} is not a final status", status.as_u16()));
    }
    if is_bodyless(method, status) {
        return Ok(());
    }
    match (length(headers)?, bytes) {
        (Some(told), Some(bytes)) if told != bytes => Err(format!(
            "content-length is {told}, but the body has {bytes} bytes"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(values: &[&str]) -> HeaderMap {
        let values = values.iter();
        HeaderMap::from_iter(values.map(|value| (CONTENT_LENGTH, value.parse().unwrap())))
    }

    #[test]
    fn every_status_from_200_on_is_final() {
        for number in 100..1000 {
            let status = StatusCode::from_u16(number).unwrap();
            let checked = check(&Method::GET, status, &HeaderMap::new(), Some(0));
            assert_eq!(checked.is_ok(), number >= 200, "{number}");
        }
    }

    #[test]
    fn content_length_must_be_one_number_equal_to_the_body() {
        let mut several = lengths(&["3"]);
        several.append(CONTENT_LENGTH, "3".parse().unwrap());
        for (headers, bytes, right) in [
            (lengths(&[]), Some(3), true),
            (lengths(&["3"]), Some(3), true),
            (lengths(&["3"]), None, true),
            (lengths(&["4"]), Some(3), false),
            (lengths(&["+3"]), Some(3), false),
            (lengths(&[""]), Some(0), false),
            (lengths(&["3, 3"]), Some(3), false),
            (lengths(&["99999999999999999999"]), None, false),
            (several, Some(3), false),
        ] {
            let checked = check(&Method::GET, StatusCode::OK, &headers, bytes);
            assert_eq!(checked.is_ok(), right, "{headers:?} {bytes:?}");
            let head = check(&Method::HEAD, StatusCode::OK, &headers, bytes);
            assert!(head.is_ok(), "nothing of it is framed by that");
        }
    }
}
