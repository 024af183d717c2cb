//! Answers: no body, bytes, or a stream that is written while it is sent.

use crate::body_writer::{BodyWriter, Produce, producing};
use crate::fetch_error::Target;
use crate::{Problem, Validators};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response::Parts};
use serde::Serialize;
use std::fmt;
use wasip3::http::types::{self, ErrorCode};

pub(crate) enum Content {
    Bytes(Bytes),
    Stream(Produce),
    /// What came back to a middleware or from a call, its body unread.
    Passed(types::Response),
}

/// Why an answer cannot be written any more.
pub(crate) const DISCONNECTED: &str = "the client has disconnected";

/// An answer, built in one expression.
///
/// ```
/// # use hms_window::Response;
/// let thing = serde_json::json!({ "id": 7 });
/// let response = Response::json(201, &thing).header("location", "/things/7");
/// ```
pub struct Response {
    head: Parts,
    content: Content,
    /// The first thing that was wrong while building. It is told when the answer is sent, so that
    /// building needs no `?`.
    fault: Option<String>,
    /// Who has answered, where this window has asked.
    pub(crate) target: Option<Target>,
}

impl Response {
    fn new(status: u16, content: Content) -> Self {
        let (mut head, ()) = http::Response::new(()).into_parts();
        let known = StatusCode::from_u16(status);
        let fault = known
            .is_err()
            .then(|| format!("{status} is not an HTTP status"));
        head.status = known.unwrap_or_default();
        Response {
            head,
            content,
            fault,
            target: None,
        }
    }

    /// An answer without a body, such as 204.
    pub fn empty(status: u16) -> Self {
        Self::new(status, Content::Bytes(Bytes::new()))
    }

    /// Bytes of the given content type.
    pub fn bytes(status: u16, content_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self::new(status, Content::Bytes(bytes.into())).header(header::CONTENT_TYPE, content_type)
    }

    /// A text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", text.into())
    }

    /// A value as JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::bytes(status, "application/json", json),
            Err(cause) => {
                let fault = Some(format!("cannot serialise the answer as JSON: {cause}"));
                Response {
                    fault,
                    ..Self::empty(status)
                }
            }
        }
    }

    /// A body that `produce` writes while it is sent, after the head. If `produce` fails, the
    /// client sees a broken body, not a shorter one that looks complete. Set `content-length` if it
    /// is known.
    ///
    /// ```no_run
    /// # use hms_window::Response;
    /// let response = Response::stream(200, async |out| {
    ///     for line in 0..1_000_000 {
    ///         out.write(format!("{line}\n")).await?;
    ///     }
    ///     Ok(())
    /// });
    /// ```
    pub fn stream<F>(status: u16, produce: F) -> Self
    where
        F: AsyncFnOnce(&mut BodyWriter) -> Result<(), Problem> + 'static,
    {
        Self::new(status, Content::Stream(producing(produce)))
    }

    /// Sets a header, replacing those with this name. An invalid name or value makes the answer a
    /// 500.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match field(name, value) {
            Ok((name, value)) => _ = self.head.headers.insert(name, value),
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// Adds a header and keeps those with this name: a second `Set-Cookie`, another `Link`.
    /// Otherwise like [`Response::header`].
    ///
    /// ```
    /// # use hms_window::Response;
    /// let response = Response::empty(204)
    ///     .append("set-cookie", "session=1f; Path=/; Secure; HttpOnly; SameSite=Lax")
    ///     .append("set-cookie", "theme=dark; Path=/");
    /// assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    /// ```
    pub fn append<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match field(name, value) {
            Ok((name, value)) => _ = self.head.headers.append(name, value),
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// Removes all headers with this name: for a middleware, from the answer it received.
    pub fn without_header(mut self, name: &str) -> Self {
        self.head.headers.remove(name);
        self
    }

    /// Sets `ETag` and `Last-Modified`, which clients use for conditional requests. Set them on
    /// 200, 206 and 304 alike.
    pub fn validators(mut self, current: &Validators) -> Self {
        let headers = &mut self.head.headers;
        if let Some(etag) = current.etag() {
            headers.insert(header::ETAG, etag);
        }
        if let Some(date) = current.last_modified() {
            headers.insert(header::LAST_MODIFIED, date);
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.head.headers
    }

    pub(crate) fn with_content(self, content: Content) -> Self {
        Response { content, ..self }
    }

    pub(crate) fn answered_by(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// The answer, or what was wrong with its building.
    pub(crate) fn checked(self) -> Result<Self, Problem> {
        match self.fault {
            Some(fault) => Err(Problem::internal(fault)),
            None => Ok(self),
        }
    }

    /// Hands the answer to the host; what is left to write goes on after this returns. With
    /// `head_only` the body is neither made nor sent.
    pub(crate) fn into_wasi(self, head_only: bool) -> Result<types::Response, ErrorCode> {
        let Response {
            head:
                Parts {
                    status,
                    mut headers,
                    ..
                },
            content,
            ..
        } = self;
        if let Content::Passed(response) = content {
            return pass_on(response, status, headers, head_only);
        }
        let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304);
        if let Content::Bytes(bytes) = &content
            && !bodiless
        {
            headers
                .entry(header::CONTENT_LENGTH)
                .or_insert_with(|| bytes.len().into());
        }
        let internal = |cause| ErrorCode::InternalError(Some(format!("{cause}")));
        let headers = headers.try_into().map_err(internal)?;

        let (mut out, stream, end) = BodyWriter::new(DISCONNECTED);
        let nothing = matches!(&content, Content::Bytes(bytes) if bytes.is_empty());
        let stream = (!head_only && !bodiless && !nothing).then_some(stream);
        let sent = stream.is_some();
        let (response, _) = types::Response::new(headers, stream, end);
        _ = response.set_status_code(status.as_u16());

        wasip3::spawn_local(async move {
            match content {
                Content::Stream(produce) if sent => _ = produce(out).await,
                Content::Bytes(bytes) if sent => {
                    let outcome = out.write(bytes).await;
                    out.end(&outcome).await;
                }
                _ => out.end(&Ok(())).await,
            }
        });
        Ok(response)
    }

    pub(crate) fn into_content(self) -> Content {
        self.content
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Parts, Content) {
        (self.head, self.content)
    }
}

#[cfg(test)]
impl Content {
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        match self {
            Content::Bytes(bytes) => Some(bytes),
            Content::Stream(_) | Content::Passed(_) => None,
        }
    }
}

/// The head alone, so that `Result<Response, Problem>` can be asserted on in tests.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.head.status)
            .field("headers", &self.head.headers)
            .finish_non_exhaustive()
    }
}

/// A header as HTTP allows it, or what is wrong with it.
pub(crate) fn field<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), String>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    match (name.try_into(), value.try_into()) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Ok(name), Err(_)) => Err(format!("invalid value for the header '{name}'")),
        (Err(_), _) => Err("invalid header name".into()),
    }
}

/// An answer of the rest of the way, under this status and these headers.
fn pass_on(
    response: types::Response,
    status: StatusCode,
    headers: HeaderMap,
    head_only: bool,
) -> Result<types::Response, ErrorCode> {
    let internal = |cause| ErrorCode::InternalError(Some(format!("{cause}")));
    let headers = headers.try_into().map_err(internal)?;
    let (taken, result) = wasip3::wit_future::new(|| Ok(()));
    let (stream, trailers) = types::Response::consume_body(response, result);
    wasip3::spawn_local(async move { _ = taken.write(Ok(())).await });
    let (passed, _) = types::Response::new(headers, (!head_only).then_some(stream), trailers);
    _ = passed.set_status_code(status.as_u16());
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_response_has_its_content_type_and_text() {
        let (head, content) = Response::json(201, &[1, 2]).header("x-a", "b").into_parts();
        assert_eq!(
            (head.status.as_u16(), &head.headers["x-a"]),
            (201, &HeaderValue::from_static("b"))
        );
        assert_eq!(head.headers["content-type"], "application/json");
        assert_eq!(content.into_bytes().unwrap(), "[1,2]");
    }

    #[test]
    fn header_replaces_others_or_is_added_beside_them() {
        let response = Response::empty(204)
            .header("x-a", "1")
            .append("x-a", "2")
            .append("x-a", "3");
        let values: Vec<_> = response.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2", "3"]);
        let response = response.header("x-a", "4");
        assert_eq!(response.headers().get_all("x-a").iter().count(), 1);
        let response = response.without_header("X-A").without_header("x-none");
        assert!(response.headers().is_empty());
    }

    #[test]
    fn validators_are_sent_as_they_are_compared() {
        let current = Validators::new().weak_tag("v7").last_modified_ms(0);
        let (head, _) = Response::empty(304).validators(&current).into_parts();
        assert_eq!(head.headers["etag"], "W/\"v7\"");
        assert_eq!(
            head.headers["last-modified"],
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        let bare = Response::empty(304).validators(&Validators::new());
        assert!(bare.headers().is_empty());
    }

    #[test]
    fn invalid_header_or_status_becomes_a_500() {
        let status = |response: Response| response.checked().map(|_| ()).unwrap_err().status();
        assert_eq!(
            status(Response::empty(204).header("x-a", "b\r\nset-cookie: c")),
            500
        );
        assert_eq!(status(Response::empty(204).header("x a", "b")), 500);
        assert_eq!(status(Response::empty(204).append("x-a", "\n")), 500);
        assert_eq!(status(Response::empty(42)), 500);
    }
}
