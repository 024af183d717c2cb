//! Static sites: files that are embedded when the window is built.
//!
//! ```ignore
//! use hms_window::{Problem, Request, Response, site, site::Site, window};
//!
//! window!(handle);
//!
//! static SITE: Site = site!("dist");
//!
//! async fn handle(request: Request) -> Result<Response, Problem> {
//!     SITE.answer(&request)
//! }
//! ```
//!
//! The folder `dist` is embedded by a `build.rs` with `hms_window_build::site("dist")`, of the
//! crate `hms-window-build` in `[build-dependencies]`.
//!
//! - **Paths**: `/` is `index.html`, `/guide/` is `guide/index.html`, and `/guide` leads to the
//!   latter by 308. `404.html`, if there is one, is what else is answered, with 404. With
//!   [`Site::single_page`] it is `index.html`, with 200, for navigations only: a path without a dot
//!   in its last segment, asked for by something that wants HTML.
//! - **Compression**: brotli or gzip as the client accepts, made when the window was built.
//! - **Caching**: a strong entity tag, so 304 for what a client has. A file whose name has a hash
//!   of its content, as bundlers name them, is `immutable` for a year; all others are asked about
//!   each time (`no-cache`). The plugin `cache` of a route may store all of them, because they last
//!   as long as the release. Pages for what is not there it stores not: it would have one for each
//!   path that somebody makes up.
//! - **Ranges** of the uncompressed file: 206 and 416, with `If-Range`.
//! - **Safety**: `X-Content-Type-Options: nosniff`, and a `Content-Security-Policy` with each page,
//!   by default [`Site::CSP`].

mod coding;

use crate::range::{Wanted, wanted};
use crate::{Bytes, Conditional, Method, Problem, Request, Response, Validators};
use coding::Coding;
use http::header;

/// Embeds a folder that `hms_window_build::site` has read, as a [`Site`](crate::site::Site).
#[macro_export]
macro_rules! site {
    ($folder:literal) => {{
        const FILES: &[$crate::site::File] = include!(concat!(
            env!(
                "OUT_DIR",
                "site! needs a build.rs: fn main() { hms_window_build::site(\"FOLDER\"); }"
            ),
            "/hms-site/",
            $folder,
            ".rs"
        ));
        $crate::site::Site::new(FILES)
    }};
}

/// What a client may keep for a year without asking again.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What a client has to ask about each time.
const ASK: &str = "no-cache";

/// What the gateway may store (RFC 9213). It drops it with the release.
const GATEWAY: &str = "public, max-age=31536000";

/// A file of a site.
#[derive(Debug)]
pub struct File {
    name: &'static str,
    media: &'static str,
    tag: &'static str,
    hashed: bool,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

impl File {
    /// For what [`site!`](crate::site!) includes; not part of the interface.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        media: &'static str,
        tag: &'static str,
        hashed: bool,
        plain: &'static [u8],
        brotli: Option<&'static [u8]>,
        gzip: Option<&'static [u8]>,
    ) -> Self {
        File {
            name,
            media,
            tag,
            hashed,
            plain,
            brotli,
            gzip,
        }
    }

    /// The file in this coding, if it is there.
    fn coded(&self, coding: Coding) -> Option<&'static [u8]> {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
            Coding::Identity => Some(self.plain),
        }
    }

    fn is_page(&self) -> bool {
        self.media.starts_with("text/html") || self.media.starts_with("image/svg")
    }
}

/// A static site: see the [module](self).
#[derive(Debug)]
pub struct Site {
    /// By the bytes of their names.
    files: &'static [File],
    csp: &'static str,
    single_page: bool,
}

impl Site {
    /// The policy of pages: everything from the site itself, no inline scripts, no frame around it.
    pub const CSP: &'static str = "default-src 'self'; object-src 'none'; base-uri 'self'; \
                                   form-action 'self'; frame-ancestors 'none'";

    /// For [`site!`](crate::site!); not part of the interface.
    #[doc(hidden)]
    pub const fn new(files: &'static [File]) -> Self {
        Site {
            files,
            csp: Self::CSP,
            single_page: false,
        }
    }

    /// Another `Content-Security-Policy`.
    pub const fn csp(mut self, policy: &'static str) -> Self {
        self.csp = policy;
        self
    }

    /// Answers navigations to paths that it does not have with `index.html`, whose script knows
    /// what to show.
    pub const fn single_page(mut self) -> Self {
        self.single_page = true;
        self
    }

    /// Answers a request with what its path names.
    ///
    /// # Errors
    /// 404 where there is nothing and no page that says so; 405 for another method than GET and
    /// HEAD.
    pub fn answer(&self, request: &Request) -> Result<Response, Problem> {
        if *request.method() != Method::GET {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let mut name = request.segments().join("/");
        let is_folder = name.is_empty() || request.path().ends_with('/');
        if is_folder {
            let name = name.trim_end_matches('/');
            let index = match name {
                "" => "index.html".to_owned(),
                name => format!("{name}/index.html"),
            };
            if let Some(file) = self.file(&index) {
                return self.give_stored(request, file);
            }
        } else {
            if let Some(file) = self.file(&name) {
                return self.give_stored(request, file);
            }
            name.push_str("/index.html");
            if self.file(&name).is_some() {
                let mut to = request.public_path(&format!("{}/", request.path()));
                if !request.query().is_empty() {
                    to = format!("{to}?{}", request.query());
                }
                return Ok(Response::empty(308).header("location", to));
            }
        }
        let (page, status) = match self.single_page && is_navigation(request) {
            true => ("index.html", 200),
            false => ("404.html", 404),
        };
        match self.file(page) {
            Some(file) if self.single_page => {
                Ok(self.give(request, file, status)?.append("vary", "accept"))
            }
            Some(file) => self.give(request, file, status),
            None => Err(Problem::not_found()),
        }
    }

    fn file(&self, name: &str) -> Option<&'static File> {
        let at = self
            .files
            .binary_search_by(|file| file.name.cmp(name))
            .ok()?;
        self.files.get(at)
    }

    /// A file at its own path.
    fn give_stored(&self, request: &Request, file: &'static File) -> Result<Response, Problem> {
        let response = self.give(request, file, 200)?;
        Ok(response.header("hms-cache-control", GATEWAY))
    }

    fn give(
        &self,
        request: &Request,
        file: &'static File,
        status: u16,
    ) -> Result<Response, Problem> {
        // HEAD knows no ranges (RFC 9110, section 14.2), and several fields are none.
        let mut ranges = request.headers().get_all(header::RANGE).iter();
        let range = match (ranges.next(), ranges.next()) {
            (Some(range), None) if !request.is_head() && status == 200 => range.to_str().ok(),
            _ => None,
        };
        // A part is a part of the file as it is.
        let accepted = match range {
            Some(_) => Coding::Identity,
            None => coding::accepted(request.headers(), |coding| file.coded(coding).is_some()),
        };
        let bytes = file.coded(accepted).unwrap_or(file.plain);
        let current = Validators::new().strong_tag(format!("{}{}", file.tag, accepted.suffix()));
        let (status, bytes, content_range) = match status {
            200 => match request.conditional(Some(&current))? {
                Conditional::NotModified => (304, &[][..], None),
                Conditional::Whole => (200, bytes, None),
                Conditional::Proceed => part(range, bytes),
            },
            status => (status, bytes, None),
        };
        let mut response = match status {
            // A part that is not there has no media type.
            304 | 416 => Response::empty(status),
            _ => Response::bytes(status, file.media, Bytes::from_static(bytes)),
        };
        if let Some(range) = content_range {
            response = response.header("content-range", range);
        }
        if accepted != Coding::Identity && status != 304 {
            response = response.header("content-encoding", accepted.name());
        }
        if file.brotli.is_some() || file.gzip.is_some() {
            response = response.header("vary", "accept-encoding");
        }
        if file.is_page() {
            response = response.header("content-security-policy", self.csp);
        }
        let cache = match file.hashed {
            true => IMMUTABLE,
            false => ASK,
        };
        Ok(response
            .validators(&current)
            .header("cache-control", cache)
            .header("accept-ranges", "bytes")
            .header("x-content-type-options", "nosniff"))
    }
}

/// The status, the bytes and the `Content-Range` of what is wanted of a file.
fn part(range: Option<&str>, bytes: &'static [u8]) -> (u16, &'static [u8], Option<String>) {
    let size = bytes.len() as u64;
    let part = match wanted(range, size) {
        Wanted::Whole => return (200, bytes, None),
        Wanted::Part(part) => part,
        Wanted::Nothing => return (416, &[], Some(format!("bytes */{size}"))),
    };
    let inside = usize::try_from(part.start)
        .ok()
        .zip(usize::try_from(part.end).ok());
    match inside.and_then(|(start, end)| bytes.get(start..end)) {
        Some(found) => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            (206, found, Some(range))
        }
        None => (200, bytes, None),
    }
}

/// Whether a person goes to a page: something that wants HTML, and no file by its name.
fn is_navigation(request: &Request) -> bool {
    let wants_html = request.text("accept").is_some_and(|accept| {
        let types = accept.split(',').filter_map(|it| it.split(';').next());
        types
            .map(str::trim)
            .any(|it| it.eq_ignore_ascii_case("text/html"))
    });
    let segments = request.segments();
    wants_html && !segments.last().is_some_and(|last| last.contains('.'))
}

#[cfg(test)]
mod tests;
