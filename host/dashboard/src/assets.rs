//! Scripts and styles, compiled in. `assets/` has the licences of those that are not ours.

use crate::reply;
use bytes::Bytes;
use hms_core::body::{self, Body};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Name, type and content. htmx and its extension are one file: in two, htmx starts before the
/// extension is there.
const FILES: [(&str, &str, &[&[u8]]); 6] = [
    (
        "htmx.js",
        SCRIPT,
        &[
            include_bytes!("../assets/htmx/htmx-4.0.1.min.js"),
            b"\n;",
            include_bytes!("../assets/htmx/hx-sse-4.0.1.min.js"),
        ],
    ),
    (
        "uplot.js",
        SCRIPT,
        &[include_bytes!("../assets/uplot/uplot-1.6.32.min.js")],
    ),
    (
        "uplot.css",
        STYLE,
        &[include_bytes!("../assets/uplot/uplot-1.6.32.min.css")],
    ),
    (
        "dashboard.js",
        SCRIPT,
        &[include_bytes!("../assets/dashboard.js")],
    ),
    (
        "dashboard.css",
        STYLE,
        &[include_bytes!("../assets/dashboard.css")],
    ),
    (
        "icon.svg",
        "image/svg+xml",
        &[include_bytes!("../assets/icon.svg")],
    ),
];

/// All of them, ready to be sent.
pub(crate) struct Assets(Vec<Asset>);

struct Asset {
    name: &'static str,
    kind: &'static str,
    tag: String,
    bytes: Bytes,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let asset = |(name, kind, parts): (&'static str, &'static str, &[&[u8]])| {
            let bytes = Bytes::from(parts.concat());
            let mut tag = String::from("\"");
            for byte in Sha256::digest(&bytes).iter().take(16) {
                let _ = write!(tag, "{byte:02x}");
            }
            tag.push('"');
            Asset {
                name,
                kind,
                tag,
                bytes,
            }
        };
        Assets(FILES.into_iter().map(asset).collect())
    }

    /// The file of that name, or 304 if the browser has it.
    pub(crate) fn answer(&self, name: &str, headers: &HeaderMap) -> Response<Body> {
        let Some(asset) = self.0.iter().find(|asset| asset.name == name) else {
            return reply::problem(StatusCode::NOT_FOUND, "there is no such file");
        };
        let known = headers.get(header::IF_NONE_MATCH);
        let known = known.and_then(|known| known.to_str().ok()).unwrap_or("");
        let has = known.split(',').any(|tag| tag.trim() == asset.tag);
        let mut response = match has {
            true => Response::new(body::empty()),
            false => Response::new(body::full(asset.bytes.clone())),
        };
        if has {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        reply::guard(&mut response, asset.kind);
        let headers = response.headers_mut();
        // Asked for again each time, and then answered with 304: a new version of the host is seen
        // at once.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_sent_once_and_then_known_by_its_tag() {
        let assets = Assets::new();
        for (name, kind, _) in FILES {
            let first = assets.answer(name, &HeaderMap::new());
            assert_eq!(first.status(), StatusCode::OK);
            assert_eq!(first.headers()[header::CONTENT_TYPE], kind);
            let tag = first.headers()[header::ETAG].clone();
            let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
            assert_eq!(
                assets.answer(name, &known).status(),
                StatusCode::NOT_MODIFIED
            );
        }
        let missing = assets.answer("../Cargo.toml", &HeaderMap::new());
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
}
