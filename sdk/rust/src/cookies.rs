//! Cookies of a request: RFC 6265, section 5.4.

use http::{HeaderMap, header};

/// The first cookie of that name. HTTP/2 may bring them in several fields (RFC 9113, section
/// 8.2.3).
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter();
    let texts = fields.filter_map(|field| std::str::from_utf8(field.as_bytes()).ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim_ascii() == name).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn cookie_is_found_in_any_field() {
        let mut headers = HeaderMap::new();
        for field in ["a=1; b=\"2\";c=x=y", "d=; a=3; flag; =e"] {
            headers.append(header::COOKIE, HeaderValue::from_static(field));
        }
        headers.append(header::COOKIE, HeaderValue::from_bytes(b"f=\xff").unwrap());
        let found = |name| find(&headers, name);
        assert_eq!(found("a"), Some("1"));
        assert_eq!(found("b"), Some("\"2\""));
        assert_eq!(found("c"), Some("x=y"));
        assert_eq!(found("d"), Some(""));
        assert_eq!(found("A"), None);
        assert_eq!(found("flag"), None);
        assert_eq!(found("f"), None);
        assert_eq!(find(&HeaderMap::new(), "a"), None);
    }
}
