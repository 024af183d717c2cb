//! What is asked, and who asks.

use crate::body::Passing;
use crate::{Body, Problem, Store, StoreError};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Display;
use std::str::FromStr;
use wasip3::http::types::{self, ErrorCode};

/// The most that [`Request::json`] reads, in bytes: forms are small, and files are not JSON.
const JSON_LIMIT: usize = 64 * 1024;

/// A request as the gateway hands it over: its path clean, its `x-hms-*` headers true.
pub struct Request {
    method: Method,
    path: String,
    segments: Vec<String>,
    query: String,
    headers: HeaderMap,
    body: Cell<Option<Body>>,
    authority: Option<String>,
    /// What a middleware puts in place of the body.
    new_body: Option<Vec<u8>>,
    /// A middleware has changed path or headers.
    changed: bool,
}

impl Request {
    pub(crate) fn from_wasi(request: types::Request) -> Result<Self, ErrorCode> {
        let method = request
            .get_method()
            .try_into()
            .map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
        let target = request.get_path_with_query().unwrap_or_default();
        let headers = request.get_headers().try_into()?;
        let authority = request.get_authority();
        let new = Self::new(method, &target, headers, Body::new(request));
        Ok(Request { authority, ..new })
    }

    fn new(method: Method, target: &str, headers: HeaderMap, body: Body) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let decoded = |segment| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8_lossy()
                .into_owned()
        };
        Request {
            method,
            path: path.to_owned(),
            segments: segments.map(decoded).collect(),
            query: query.to_owned(),
            headers,
            body: Cell::new(Some(body)),
            authority: None,
            new_body: None,
            changed: false,
        }
    }

    /// Method, target, headers, authority and body, to be sent on.
    pub(crate) fn into_parts(self) -> (Method, String, HeaderMap, Option<String>, Passing) {
        let target = match self.query.as_str() {
            "" => self.path,
            query => format!("{}?{query}", self.path),
        };
        let body = match (self.new_body, self.body.take().and_then(Body::unread)) {
            (Some(bytes), _) => Passing::Bytes(bytes),
            (None, Some(request)) => Passing::Whole((request, !self.changed)),
            (None, None) => Passing::Bytes(Vec::new()),
        };
        (self.method, target, self.headers, self.authority, body)
    }

    /// The request with another body: for a middleware that has read it, or changes it.
    pub fn with_body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.new_body = Some(bytes.into());
        self
    }

    /// The request with this header in place of those of its name: for a middleware, before it sends the request on.
    ///
    /// A name or value that HTTP does not allow is an error.
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Result<Self, Problem>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => _ = self.headers.insert(name, value),
            (Ok(name), Err(_)) => {
                let cause = format!("no valid value for the header '{name}'");
                return Err(Problem::internal(cause));
            }
            (Err(_), _) => return Err(Problem::internal("no valid header name")),
        }
        self.changed = true;
        Ok(self)
    }

    /// The request for another path, with its query: for a middleware, before it sends the request on.
    pub fn with_target(mut self, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (self.path, self.query) = (path.to_owned(), query.to_owned());
        self.changed = true;
        self
    }

    /// The method; GET for a HEAD request as well, because both want the same answer. See [`Request::is_head`].
    pub fn method(&self) -> &Method {
        if self.is_head() {
            &Method::GET
        } else {
            &self.method
        }
    }

    /// Whether this is a HEAD request: the answer's body will not be sent.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The path as it came, without the query: `/payments/42`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parts of the path between its slashes, percent-decoded, to match on: `["payments", "42"]`.
    ///
    /// A slash at the end makes an empty last part: `/payments/` is not `/payments`.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// `path` as the client has to write it: the gateway took a prefix off (`/api/v1`), and this puts it back.
    /// For `Location` and for links.
    pub fn public_path(&self, path: &str) -> String {
        format!(
            "{}{path}",
            self.text("x-forwarded-prefix").unwrap_or_default()
        )
    }

    /// A query parameter, read as a `T`: nothing if it is missing, 400 if it cannot be read.
    ///
    /// ```no_run
    /// # fn limit(request: hms_window::Request) -> Result<usize, hms_window::Problem> {
    /// let limit = request.param("limit")?.unwrap_or(50);
    /// # Ok(limit) }
    /// ```
    pub fn param<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let mut all = form_urlencoded::parse(self.query.as_bytes());
        let Some((_, value)) = all.find(|(key, _)| key == name) else {
            return Ok(None);
        };
        let unread = |cause| Problem::bad_request(format!("the parameter '{name}': {cause}"));
        value.parse().map(Some).map_err(unread)
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a header, where there is one and it is UTF-8.
    pub fn text(&self, header: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(header)?.as_bytes()).ok()
    }

    /// Who is asking; 401 if the request came without a token.
    pub fn caller(&self) -> Result<Caller, Problem> {
        let user = self.text("x-hms-user").filter(|user| !user.is_empty());
        let scopes = self
            .text("x-hms-scopes")
            .unwrap_or_default()
            .split_ascii_whitespace();
        Ok(Caller {
            user: user.ok_or_else(Problem::unauthorized)?.to_owned(),
            scopes: scopes.map(str::to_owned).collect(),
        })
    }

    /// The body. It can be had once: after that it is empty.
    pub fn body(&self) -> Body {
        self.body.take().unwrap_or(Body::ENDED)
    }

    /// The body as JSON, whatever content type it claims: at most 64 KiB (413), and of the form of `T` (400).
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes = self.body().read_to_end(JSON_LIMIT).await?;
        serde_json::from_slice(&bytes).map_err(|cause| {
            Problem::bad_request(match cause.is_data() {
                true => format!("the JSON does not say what is needed: {cause}"),
                false => format!("the body is not JSON: {cause}"),
            })
        })
    }
}

/// Who is asking, as the gateway has proven it by the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Issuer and subject in one name: the token's `sub` where the host has one issuer,
    /// `ISSUER:SUB` where it has several, and `key:USER` for the user of an API key there. Compare
    /// it as a whole: a `sub` may have colons of its own.
    pub user: String,
    /// The token's scopes.
    pub scopes: Vec<String>,
}

impl Caller {
    /// Whether the token has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| one == scope)
    }

    /// The part `name` of the store that is this caller's own: two users never share one, whoever
    /// their issuers are. `name` has no slash, and at most 190 bytes.
    pub fn store(&self, name: &str) -> Result<Store, StoreError> {
        Store::open(&format!("{name}/{}", self.user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(method: Method, target: &str, headers: &[(&'static str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        Request::new(method, target, headers.collect(), Body::ENDED)
    }

    fn get(target: &str) -> Request {
        request(Method::GET, target, &[])
    }

    #[test]
    fn segments_are_decoded_after_they_are_split() {
        assert_eq!(get("/docs/a%2Fb%20c?x=/").segments(), ["docs", "a/b c"]);
        assert_eq!(get("/docs/").segments(), ["docs", ""]);
        assert_eq!(get("/").segments(), [""]);
    }

    #[test]
    fn parameters_are_typed_and_a_wrong_one_is_named() {
        let request = get("/payments?limit=20&cursor=a%26b&limit=30&bad=x");
        assert_eq!(request.param("limit").unwrap(), Some(20));
        assert_eq!(
            request.param::<String>("cursor").unwrap(),
            Some("a&b".into())
        );
        assert_eq!(request.param::<u32>("offset").unwrap(), None);
        let problem = request.param::<u32>("bad").unwrap_err();
        assert_eq!(problem.status(), 400);
        assert!(problem.to_string().contains("'bad'"));
    }

    #[test]
    fn head_is_routed_as_get() {
        let request = request(Method::HEAD, "/", &[]);
        assert_eq!((request.method(), request.is_head()), (&Method::GET, true));
    }

    #[test]
    fn a_link_carries_the_prefix_that_the_gateway_took_off() {
        let behind = request(Method::GET, "/docs", &[("x-forwarded-prefix", "/api/v1")]);
        assert_eq!(behind.public_path("/docs/7"), "/api/v1/docs/7");
        assert_eq!(get("/docs").public_path("/docs/7"), "/docs/7");
    }

    #[test]
    fn the_caller_is_whom_the_gateway_names() {
        let headers = [
            ("x-hms-user", "zoë"),
            ("x-hms-scopes", "docs.read docs.write"),
        ];
        let caller = request(Method::GET, "/", &headers).caller().unwrap();
        assert_eq!(caller.user, "zoë");
        assert!(caller.has_scope("docs.write") && !caller.has_scope("docs"));
    }

    #[test]
    fn without_a_caller_it_is_401() {
        assert_eq!(get("/").caller().unwrap_err().status(), 401);
        let empty = request(Method::GET, "/", &[("x-hms-user", "")]);
        assert_eq!(empty.caller().unwrap_err().status(), 401);
    }
}
