//! No head of an answer makes its reader panic, and nothing in it hides that it must not be stored.
#![no_main]

use hms_gateway::plugins::cache::is_stored;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;

/// The first byte of a line says which field it is.
const FIELDS: [&str; 7] = [
    "cache-control",
    "hms-cache-control",
    "cdn-cache-control",
    "vary",
    "expires",
    "date",
    "age",
];

fuzz_target!(|text: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some((first, value)) = line.split_first() else {
            continue;
        };
        let name = FIELDS[usize::from(*first) % FIELDS.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    is_stored(StatusCode::OK, &headers);
    headers.remove("hms-cache-control");
    headers.remove("cdn-cache-control");
    headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert!(!is_stored(StatusCode::OK, &headers));
});
