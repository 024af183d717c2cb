//! What may leave with a request that a guest sends, and come back with its answer.

use hms_core::headers::{
    clean_trailer_names, drop_hop_by_hop, drop_where, is_claim, is_credential, is_set_by_gateway,
};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether the client shows itself by this field.
pub(super) fn shows_who(name: &HeaderName) -> bool {
    is_credential(name) || [header::COOKIE, header::PROXY_AUTHORIZATION].contains(name)
}

/// Drops what only the host may say, and what the client of the request in hand has shown of
/// itself, `credentials`. A guest's own credentials for the service stay. What ends at a connection
/// is for whoever has that.
pub(super) fn request(headers: &mut HeaderMap, credentials: &[HeaderValue]) {
    clean_trailer_names(headers);
    headers.remove(header::HOST);
    drop_where(headers, is_set_by_gateway);
    for name in shown_with(headers, credentials) {
        let kept: Vec<HeaderValue> = headers
            .get_all(&name)
            .iter()
            .filter(|value| !credentials.contains(value))
            .cloned()
            .collect();
        headers.remove(&name);
        for value in kept {
            headers.append(&name, value);
        }
    }
}

/// The names of the fields that show one of `credentials`. Of those that are for showing oneself:
/// else a client could have any field removed whose value it can guess, by showing that.
fn shown_with(headers: &HeaderMap, credentials: &[HeaderValue]) -> Vec<HeaderName> {
    if credentials.is_empty() {
        return Vec::new();
    }
    let names = headers.keys().filter(|name| {
        let mut values = headers.get_all(*name).iter();
        shows_who(name) && values.any(|value| credentials.contains(value))
    });
    names.cloned().collect()
}

/// The same of a request to another window, which takes more for the host's word, and what ends
/// here.
pub(super) fn request_to_window(headers: &mut HeaderMap, credentials: &[HeaderValue]) {
    drop_hop_by_hop(headers);
    headers.remove(header::EXPECT);
    request(headers, credentials);
    drop_where(headers, is_claim);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let name = HeaderName::try_from(*name).unwrap();
            (name, HeaderValue::try_from(*value).unwrap())
        });
        fields.collect()
    }

    #[test]
    fn fields_of_the_host_and_the_client_do_not_leave_and_the_guests_own_do() {
        let shown = [
            HeaderValue::from_static("Bearer citizen"),
            HeaderValue::from_static("session=1"),
        ];
        let mut sent = headers(&[
            ("authorization", "Bearer citizen"),
            ("authorization", "Bearer service"),
            ("cookie", "session=1"),
            ("x-api-key", "Bearer citizen"),
            ("accept", "session=1"),
            ("x-hms-user", "alice"),
            ("x_hms_scopes", "all"),
            ("x-forwarded-for", "192.0.2.1"),
            ("traceparent", "00-1-1-00"),
            ("host", "elsewhere"),
            ("te", "trailers"),
            ("expect", "100-continue"),
        ]);
        request_to_window(&mut sent, &shown);
        let kept = headers(&[("authorization", "Bearer service"), ("accept", "session=1")]);
        assert_eq!(sent, kept);
    }
}
