//! What is asked, and who asks.

mod making;

use crate::conditional::{self, Conditional, Refusal};
use crate::outgoing::Sent;
use crate::response::field;
use crate::{Body, Problem, Store, StoreError, Timeouts, Validators, cookies, now_ms};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Display;
use std::str::FromStr;
use wasip3::http::types::{self, ErrorCode, Scheme};

/// The most that [`Request::json`] reads, in bytes: forms are small, and files are not JSON.
const JSON_LIMIT: usize = 64 * 1024;

/// A request as the gateway hands it over: its path clean, its `x-hms-*` headers true. Or one that
/// this window makes, for [`fetch`](crate::fetch()) and [`call`](crate::call()):
///
/// ```
/// # use hms_window::{Problem, Request};
/// # fn make() -> Result<Request, Problem> {
/// let request = Request::post("https://api.card.example/v1/charges")
///     .with_json(&serde_json::json!({ "amount": 42 }))
///     .with_header("idempotency-key", "018f-7")?;
/// # Ok(request) }
/// # assert!(make().is_ok());
/// ```
pub struct Request {
    method: Method,
    path: String,
    segments: Vec<String>,
    query: String,
    headers: HeaderMap,
    body: Cell<Option<Body>>,
    pub(crate) authority: Option<String>,
    /// What is sent in place of the body.
    new_body: Option<Sent>,
    /// Path or headers are not those that came.
    changed: bool,
    /// Of the URL that it was given.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) timeouts: Timeouts,
    /// The first thing that was wrong while making it. It is told when it is sent, so that making
    /// one needs no `?`.
    pub(crate) fault: Option<String>,
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
        let new = Self::of(method, &target, headers, Body::new(request));
        Ok(Request { authority, ..new })
    }

    fn of(method: Method, target: &str, headers: HeaderMap, body: Body) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method,
            path: path.to_owned(),
            segments: segments(path),
            query: query.to_owned(),
            headers,
            body: Cell::new(Some(body)),
            authority: None,
            new_body: None,
            changed: false,
            scheme: None,
            timeouts: Timeouts::default(),
            fault: None,
        }
    }

    /// The request with this header in place of those of its name: for a middleware, before it
    /// sends the request on.
    ///
    /// A name or value that HTTP does not allow is an error.
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Result<Self, Problem>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = field(name, value).map_err(Problem::internal)?;
        self.headers.insert(name, value);
        self.changed = true;
        Ok(self)
    }

    /// The request with this header beside those of its name. Otherwise as
    /// [`Request::with_header`].
    pub fn with_appended<N, V>(mut self, name: N, value: V) -> Result<Self, Problem>
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = field(name, value).map_err(Problem::internal)?;
        self.headers.append(name, value);
        self.changed = true;
        Ok(self)
    }

    /// The request without the headers of that name: for a middleware, before it sends the request
    /// on.
    pub fn without_header(mut self, name: &str) -> Self {
        self.changed |= self.headers.remove(name).is_some();
        self
    }

    /// The request for another path, with its query: for a middleware, before it sends the request
    /// on.
    pub fn with_target(mut self, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (self.path, self.query) = (path.to_owned(), query.to_owned());
        self.segments = segments(path);
        self.changed = true;
        self
    }

    /// The method; GET for a HEAD request as well, because both want the same answer. See
    /// [`Request::is_head`].
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

    /// The raw path, without the query: `/payments/42`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The segments of the path, percent-decoded, to match on:
    /// `["payments", "42"]`.
    ///
    /// A trailing slash makes an empty last segment: `/payments/` is not `/payments`.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// `path` as the client must write it: with the prefix that the gateway stripped (`/api/v1`).
    /// For `Location` and for links.
    pub fn public_path(&self, path: &str) -> String {
        format!(
            "{}{path}",
            self.text("x-forwarded-prefix").unwrap_or_default()
        )
    }

    /// The raw query, without the question mark; empty if there is none. For cases that
    /// [`Request::param`] and [`Request::params`] do not cover.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// A query parameter, parsed as a `T`: `None` if it is missing, 400 if it cannot be parsed. If
    /// it is repeated, the first.
    ///
    /// ```no_run
    /// # fn limit(request: hms_window::Request) -> Result<usize, hms_window::Problem> {
    /// let limit = request.param("limit")?.unwrap_or(50);
    /// # Ok(limit) }
    /// ```
    pub fn param<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.values(name).next().transpose()
    }

    /// All values of a repeatable query parameter, each parsed as a `T`, in order: 400 if one
    /// cannot be parsed.
    ///
    /// ```no_run
    /// # fn tags(request: hms_window::Request) -> Result<Vec<String>, hms_window::Problem> {
    /// let tags = request.params("tag")?; // ?tag=a&tag=b
    /// # Ok(tags) }
    /// ```
    pub fn params<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        self.values(name).collect()
    }

    fn values<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> impl Iterator<Item = Result<T, Problem>> {
        let all = form_urlencoded::parse(self.query.as_bytes());
        all.filter(move |(key, _)| key == name)
            .map(move |(_, value)| {
                let unread =
                    |cause| Problem::bad_request(format!("the parameter '{name}': {cause}"));
                value.parse().map_err(unread)
            })
    }

    /// The headers: `headers().get_all(name)` has all fields with a name that may be repeated.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a header if there is one and it is UTF-8; the first if there are several.
    pub fn text(&self, header: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(header)?.as_bytes()).ok()
    }

    /// The raw value of a cookie; the first if there are several with this name (RFC 6265).
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies::find(&self.headers, name)
    }

    /// Evaluates the conditions of the request (`If-Match`, `If-None-Match`, `If-Modified-Since`,
    /// `If-Unmodified-Since`, `If-Range`; RFC 9110, section 13) against the validators of the
    /// current state, or `None` if the resource does not exist. A failed condition is the problem
    /// 412, `precondition-failed`. A malformed list of tags is 400 if the request would change
    /// something.
    ///
    /// Call it only when the request would succeed without conditions: 404 comes before 412. In a
    /// GET:
    ///
    /// ```no_run
    /// # use hms_window::{Conditional, Problem, Request, Response, Validators};
    /// # fn show(request: &Request, version: u64, text: String) -> Result<Response, Problem> {
    /// let current = Validators::new().strong_tag(version.to_string());
    /// let response = match request.conditional(Some(&current))? {
    ///     Conditional::NotModified => Response::empty(304),
    ///     Conditional::Proceed | Conditional::Whole => Response::text(200, text),
    /// };
    /// Ok(response.validators(&current))
    /// # }
    /// ```
    ///
    /// For a change, call it inside [`Store::try_update`], so that nobody else changes the value
    /// between the check and the write:
    ///
    /// ```no_run
    /// # use hms_window::{Problem, Request, Response, Store, Validators};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct Letter {
    ///     version: u64,
    ///     text: String,
    /// }
    ///
    /// fn validators(letter: &Letter) -> Validators {
    ///     Validators::new().strong_tag(letter.version.to_string())
    /// }
    ///
    /// fn put(
    ///     request: &Request,
    ///     letters: Store,
    ///     id: &str,
    ///     text: String,
    /// ) -> Result<Response, Problem> {
    ///     let letter = letters.try_update(id, |old: Option<Letter>| {
    ///         request.conditional(old.as_ref().map(validators).as_ref())?;
    ///         let version = old.map_or(1, |old| old.version + 1);
    ///         Ok::<_, Problem>(Letter { version, text: text.clone() })
    ///     })?;
    ///     Ok(Response::empty(204).validators(&validators(&letter)))
    /// }
    /// ```
    pub fn conditional(&self, current: Option<&Validators>) -> Result<Conditional, Problem> {
        let now_s = || i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
        conditional::evaluate(&self.method, &self.headers, current, now_s).map_err(|refusal| {
            match refusal {
                Refusal::Failed(field) => Problem::precondition_failed(&field),
                Refusal::Malformed(field) => Problem::bad_request(format!(
                    "'{field}' is not a list of entity tags: use '*', or quoted tags separated by \
                     commas"
                )),
            }
        })
    }

    /// The caller; 401 if the request has none.
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

    /// The body. It can be taken once: after that it is empty.
    pub fn body(&self) -> Body {
        self.body.take().unwrap_or(Body::ENDED)
    }

    /// The body as JSON, whatever its content type: at most 64 KiB (413), in the shape of `T`
    /// (400).
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes = self.body().read_to_end(JSON_LIMIT).await?;
        serde_json::from_slice(&bytes).map_err(|cause| {
            Problem::bad_request(match cause.is_data() {
                true => format!("the JSON has the wrong shape: {cause}"),
                false => format!("the body is not JSON: {cause}"),
            })
        })
    }
}

/// The caller, as verified by the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Issuer and subject in one name: the token's `sub` if the host has one issuer, `ISSUER:SUB`
    /// if it has several, and then `key:USER` for the user of an API key. Compare it as a whole: a
    /// `sub` may contain colons.
    pub user: String,
    /// The token's scopes.
    pub scopes: Vec<String>,
}

impl Caller {
    /// Whether the token has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| one == scope)
    }

    /// This caller's own part `name` of the store. Two users never share one, whatever their
    /// issuers. `name` has no slash and at most 190 bytes.
    pub fn store(&self, name: &str) -> Result<Store, StoreError> {
        Store::open(&format!("{name}/{}", self.user))
    }
}

/// The parts of a path, percent-decoded after they are split.
fn segments(path: &str) -> Vec<String> {
    let decoded = |segment| {
        percent_encoding::percent_decode_str(segment)
            .decode_utf8_lossy()
            .into_owned()
    };
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').map(decoded).collect()
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
        Request::of(method, target, headers.collect(), Body::ENDED)
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
    fn parameter_can_occur_several_times() {
        let request = get("/docs?tag=a&limit=1&tag=b%26c&tag=&n=1&n=x");
        let tags: Vec<String> = request.params("tag").unwrap();
        assert_eq!(tags, ["a", "b&c", ""]);
        assert_eq!(request.param::<String>("tag").unwrap(), Some("a".into()));
        assert_eq!(request.params::<u32>("limit").unwrap(), [1]);
        assert_eq!(request.params::<u32>("none").unwrap(), [0; 0]);
        assert_eq!(request.param::<u32>("n").unwrap(), Some(1));
        let problem = request.params::<u32>("n").unwrap_err();
        assert!(problem.to_string().contains("'n'"));
        assert_eq!(get("/docs?a=b;c&%").query(), "a=b;c&%");
        assert_eq!(get("/docs").query(), "");
    }

    #[test]
    fn middleware_sets_adds_and_removes_fields() {
        let first = request(Method::GET, "/old/a%20b", &[("x-a", "1")]);
        let changed = first.with_appended("x-a", "2").unwrap();
        assert_eq!(changed.headers().get_all("x-a").iter().count(), 2);
        let changed = changed.with_header("x-a", "3").unwrap();
        assert_eq!(changed.headers().get_all("x-a").iter().count(), 1);
        let changed = changed.without_header("X-A").with_target("/new/c%20d?e=f");
        assert!(changed.headers().is_empty() && changed.changed);
        assert_eq!(changed.segments(), ["new", "c d"]);
        assert_eq!(changed.query(), "e=f");
        assert!(!get("/").without_header("x-none").changed);
    }

    #[test]
    fn failed_condition_is_412_and_an_unreadable_one_400() {
        let current = Validators::new().strong_tag("a");
        let asked = |method, field, value| {
            let request = request(method, "/", &[(field, value)]);
            request.conditional(Some(&current))
        };
        let status = |outcome: Result<Conditional, Problem>| outcome.unwrap_err().status();
        assert_eq!(status(asked(Method::DELETE, "if-match", "\"b\"")), 412);
        let unread = asked(Method::DELETE, "if-match", "b").unwrap_err();
        assert_eq!(unread.status(), 400);
        assert!(unread.to_string().contains("'if-match'"));
        // A HEAD request is no GET here: it knows no ranges.
        let known = asked(Method::HEAD, "if-none-match", "\"a\"").unwrap();
        assert_eq!(known, Conditional::NotModified);
    }

    #[test]
    fn head_is_routed_as_get() {
        let request = request(Method::HEAD, "/", &[]);
        assert_eq!((request.method(), request.is_head()), (&Method::GET, true));
    }

    #[test]
    fn link_carries_the_prefix_the_gateway_stripped() {
        let behind = request(Method::GET, "/docs", &[("x-forwarded-prefix", "/api/v1")]);
        assert_eq!(behind.public_path("/docs/7"), "/api/v1/docs/7");
        assert_eq!(get("/docs").public_path("/docs/7"), "/docs/7");
    }

    #[test]
    fn caller_is_read_from_the_gateway_headers() {
        let headers = [
            ("x-hms-user", "zoë"),
            ("x-hms-scopes", "docs.read docs.write"),
        ];
        let caller = request(Method::GET, "/", &headers).caller().unwrap();
        assert_eq!(caller.user, "zoë");
        assert!(caller.has_scope("docs.write") && !caller.has_scope("docs"));
    }

    #[test]
    fn missing_caller_is_401() {
        assert_eq!(get("/").caller().unwrap_err().status(), 401);
        let empty = request(Method::GET, "/", &[("x-hms-user", "")]);
        assert_eq!(empty.caller().unwrap_err().status(), 401);
    }
}
