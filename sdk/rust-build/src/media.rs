//! Media types, by the ends of names.

/// A media type.
pub(super) struct Media {
    pub name: &'static str,
    /// Whether compressing it is worth a try.
    pub compressible: bool,
}

/// What browsers are sent. In the order of their ends.
const TABLE: [(&str, &str, bool); 36] = [
    ("avif", "image/avif", false),
    ("css", "text/css; charset=utf-8", true),
    ("csv", "text/csv; charset=utf-8", true),
    ("gif", "image/gif", false),
    ("htm", "text/html; charset=utf-8", true),
    ("html", "text/html; charset=utf-8", true),
    ("ico", "image/x-icon", true),
    ("ics", "text/calendar; charset=utf-8", true),
    ("jpeg", "image/jpeg", false),
    ("jpg", "image/jpeg", false),
    ("js", "text/javascript; charset=utf-8", true),
    ("json", "application/json", true),
    ("map", "application/json", true),
    ("md", "text/markdown; charset=utf-8", true),
    ("mjs", "text/javascript; charset=utf-8", true),
    ("mp3", "audio/mpeg", false),
    ("mp4", "video/mp4", false),
    ("ogg", "audio/ogg", false),
    ("otf", "font/otf", true),
    ("pdf", "application/pdf", false),
    ("png", "image/png", false),
    ("rss", "application/rss+xml", true),
    ("svg", "image/svg+xml", true),
    ("ttf", "font/ttf", true),
    ("txt", "text/plain; charset=utf-8", true),
    ("vtt", "text/vtt; charset=utf-8", true),
    ("wasm", "application/wasm", true),
    ("wav", "audio/wav", false),
    ("webm", "video/webm", false),
    ("webmanifest", "application/manifest+json", true),
    ("webp", "image/webp", false),
    ("woff", "font/woff", false),
    ("woff2", "font/woff2", false),
    ("xml", "application/xml", true),
    ("yaml", "application/yaml", true),
    ("zip", "application/zip", false),
];

/// That of a file with this name.
pub(super) fn of(name: &str) -> Media {
    let end = name
        .rsplit_once('.')
        .map_or("", |(_, end)| end)
        .to_ascii_lowercase();
    let found = TABLE.binary_search_by(|(known, _, _)| known.cmp(&&*end));
    let row = found.ok().and_then(|at| TABLE.get(at));
    match row {
        Some((_, name, compressible)) => Media {
            name,
            compressible: *compressible,
        },
        None => Media {
            name: "application/octet-stream",
            compressible: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_found() {
        for (end, name, _) in TABLE {
            assert_eq!(of(&format!("a/b.{end}")).name, name, "{end}");
        }
        assert_eq!(of("INDEX.HTML").name, "text/html; charset=utf-8");
        assert_eq!(of("LICENSE").name, "application/octet-stream");
    }
}
