//! Making a request, and changing one before it is sent.

use super::Request;
use crate::body_writer::{BodyWriter, producing};
use crate::outgoing::{Parts, Sent};
use crate::{Body, Problem, Timeouts};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use wasip3::http::types::{RequestOptions, Scheme};

impl Request {
    /// A GET request to `url`. See [`Request::new`].
    pub fn get(url: &str) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST request to `url`. See [`Request::new`].
    pub fn post(url: &str) -> Self {
        Self::new(Method::POST, url)
    }

    /// A request that this window makes, without headers and body. `url` is absolute, with
    /// `http://` or `https://`; for [`call`](crate::call()) a path is enough: `/docs/7`. Whatever
    /// is wrong with it is told by [`fetch`](crate::fetch()).
    pub fn new(method: Method, url: &str) -> Self {
        Self::of(method, "/", HeaderMap::new(), Body::ENDED).with_url(url)
    }

    /// The request with another body: for a middleware that has read it, or changes it, and for
    /// [`fetch`](crate::fetch()).
    pub fn with_body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.new_body = Some(Sent::Bytes(bytes.into()));
        self
    }

    /// The request with a value as JSON for its body, and the content type of that.
    pub fn with_json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => {
                let json_type = HeaderValue::from_static("application/json");
                self.headers.insert(header::CONTENT_TYPE, json_type);
                self.changed = true;
                self.with_body(json)
            }
            Err(cause) => self.failed(format!("cannot serialise the body as JSON: {cause}")),
        }
    }

    /// The request with a body that `produce` writes while it is sent. If `produce` fails, the
    /// receiver sees a broken body, not a shorter one that looks complete. Set `content-length`
    /// after this, if it is known.
    ///
    /// ```no_run
    /// # use hms_window::{FetchError, Request, Response, fetch};
    /// # async fn copy(inbound: Request) -> Result<Response, FetchError> {
    /// let mut body = inbound.body();
    /// let archived = Request::post("https://archive.example/files").with_stream(async move |out| {
    ///     while let Some(chunk) = body.chunk().await? {
    ///         out.write(chunk).await?;
    ///     }
    ///     Ok(())
    /// });
    /// fetch(archived).await
    /// # }
    /// ```
    pub fn with_stream<F>(mut self, produce: F) -> Self
    where
        F: AsyncFnOnce(&mut BodyWriter) -> Result<(), Problem> + 'static,
    {
        self.headers.remove(header::CONTENT_LENGTH);
        self.new_body = Some(Sent::Stream(producing(produce)));
        self
    }

    /// The request with these timeouts: for [`fetch`](crate::fetch()) and [`call`](crate::call()).
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The request with one more query parameter, encoded.
    ///
    /// ```
    /// # use hms_window::Request;
    /// let request = Request::get("https://api.example/search").with_param("q", "a&b c");
    /// assert_eq!(request.query(), "q=a%26b+c");
    /// ```
    pub fn with_param(mut self, name: &str, value: &str) -> Self {
        let query = std::mem::take(&mut self.query);
        let mut query = form_urlencoded::Serializer::new(query);
        self.query = query.append_pair(name, value).finish();
        self.changed = true;
        self
    }

    /// The request to another URL, of which a path alone leaves scheme and host as they are: for
    /// [`fetch`](crate::fetch()), to send the request in hand on, its body unread. Its `host`,
    /// `x-hms-*`, and what the client has shown of itself (`authorization`, cookies) do not leave.
    pub fn with_url(mut self, url: &str) -> Self {
        if url.starts_with('/') {
            return self.with_target(url);
        }
        match absolute(url) {
            Ok((scheme, authority, target)) => {
                (self.scheme, self.authority) = (Some(scheme), Some(authority));
                self.headers.remove(header::HOST);
                self.with_target(&target)
            }
            Err(fault) => self.failed(fault),
        }
    }

    /// The method as it is sent: HEAD is HEAD.
    pub(crate) fn effective_method(&self) -> Method {
        self.method.clone()
    }

    /// Its head goes elsewhere than where it came to.
    pub(crate) fn redirected(mut self) -> Self {
        self.changed = true;
        self
    }

    fn failed(mut self, fault: String) -> Self {
        self.fault.get_or_insert(fault);
        self
    }

    /// In its parts, to be sent.
    pub(crate) fn into_parts(
        self,
        scheme: Scheme,
        authority: Option<String>,
        options: Option<RequestOptions>,
    ) -> Parts {
        let target = match self.query.as_str() {
            "" => self.path,
            query => format!("{}?{query}", self.path),
        };
        let body = match (self.new_body, self.body.take().and_then(Body::unread)) {
            (Some(body), _) => body,
            (None, Some(request)) => Sent::Whole(request, !self.changed),
            (None, None) => Sent::Bytes(Vec::new()),
        };
        Parts {
            method: self.method,
            target,
            headers: self.headers,
            scheme,
            authority,
            body,
            options,
        }
    }
}

/// Scheme, authority, and path with query of a URL.
fn absolute(url: &str) -> Result<(Scheme, String, String), String> {
    let uri: http::Uri = url.parse().map_err(|cause| {
        format!("the URL cannot be read ({cause}): percent-encode what is in it")
    })?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => return Err("the URL does not begin with https:// or http://".into()),
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("the URL has a user or a password: send them in a header".into());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((scheme, authority.to_owned(), format!("{slash}{target}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_into_what_is_sent() {
        let request = Request::new(Method::PUT, "https://api.example:8443/v1/a%20b?c=d");
        assert!(matches!(request.scheme, Some(Scheme::Https)));
        assert_eq!(request.authority.as_deref(), Some("api.example:8443"));
        assert_eq!(request.segments(), ["v1", "a b"]);
        let request = request.with_param("e", "f&g").with_param("h", "");
        assert_eq!(request.query(), "c=d&e=f%26g&h=");
        for (url, path, query) in [
            ("http://a", "/", ""),
            ("http://a?b", "/", "b"),
            ("http://[::1]:80/x#y", "/x", ""),
            ("/only/a?path", "/only/a", "path"),
        ] {
            let request = Request::get(url);
            assert_eq!(request.fault, None, "{url}");
            assert_eq!((request.path(), request.query()), (path, query), "{url}");
        }
    }

    #[test]
    fn url_that_cannot_be_sent_is_a_fault_and_the_first_is_kept() {
        for (url, why) in [
            ("ftp://a/", "https://"),
            ("a.example", "https://"),
            ("", "cannot be read"),
            ("http://a b/", "percent-encode"),
            ("https://user:hunter2@a/", "in a header"),
        ] {
            let fault = Request::get(url).with_url("ftp://b/").fault.unwrap();
            assert!(fault.contains(why), "{url}: {fault}");
            assert!(!fault.contains("hunter2"));
        }
    }

    #[test]
    fn json_body_has_its_content_type() {
        let request = Request::post("http://a/").with_json(&[1, 2]);
        assert_eq!(request.text("content-type"), Some("application/json"));
        let Some(Sent::Bytes(bytes)) = request.new_body else {
            panic!("it is bytes");
        };
        assert_eq!(bytes, b"[1,2]");
    }
}
