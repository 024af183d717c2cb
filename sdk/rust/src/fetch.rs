//! Requests that a window makes: to services, and to other windows.

use crate::fetch_error::{FetchError, Target};
use crate::{Request, Response};
use std::time::Duration;
use wasip3::http::client;
use wasip3::http::types::{RequestOptions, Scheme};

/// What another window's name begins with as a host name.
const WINDOW_HOST: &str = "hms-svc-";

/// Sends `request` to a service, and returns the answer once its head is there. Both bodies are
/// streamed: read the answer's by [`Response::read_json`] or [`Response::into_body`], or return the
/// answer as it is.
///
/// A window reaches what the operator has granted it in `windows/NAME.yaml`, and nothing else. Keys
/// stay with the host, which sets them where the file says `inject`: this window need not know
/// them. Redirects are not followed: `location` has the URL to send another request to, which is
/// checked anew. A status such as 404 or 500 is an answer, not an error.
///
/// The call belongs to the request in hand and lasts no longer. The host ends it after the time
/// that the file or the window's limits allow, and [`Request::with_timeouts`] can only shorten
/// that.
///
/// ```no_run
/// use hms_window::{Problem, Request, Response, Timeouts, fetch};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Rate {
///     rate: f64,
/// }
///
/// async fn convert(euros: f64) -> Result<Response, Problem> {
///     let request = Request::get("https://rates.example/v1/latest")
///         .with_param("to", "USD")
///         .with_timeouts(Timeouts::new().connect_ms(1_000).first_byte_ms(3_000));
///     let answer = fetch(request).await?;
///     if !answer.status().is_success() {
///         return Err(Problem::new(502, "no-rate", "the exchange rate is not available"));
///     }
///     let Rate { rate } = answer.read_json().await?;
///     Ok(Response::json(200, &serde_json::json!({ "dollars": euros * rate })))
/// }
/// ```
///
/// # Errors
/// Why there is no answer: see [`FetchError`]. In a handler, `?` turns it into a
/// [`Problem`](crate::Problem).
pub async fn fetch(request: Request) -> Result<Response, FetchError> {
    let (scheme, authority) = (request.scheme.clone(), request.authority.clone());
    let method = request.effective_method();
    match (scheme, authority) {
        (Some(scheme), Some(authority)) => {
            let target = Target::service(&scheme, &authority, &method, request.path());
            send(request, target, scheme, authority).await
        }
        _ => {
            let why = request.fault.clone().unwrap_or_else(|| {
                "the request has no URL: give it one with https:// by Request::get or with_url"
                    .into()
            });
            Err(FetchError::invalid("a request", why))
        }
    }
}

/// Sends `request` to another window of this host, in the process: as [`fetch`] does with
/// `http://hms-svc-NAME`. Its URL can be a path.
///
/// The operator grants it with `calls: [NAME]` in this window's `windows/NAME.yaml`. The other
/// window sees the user and the scopes of the request in hand, and this window's name as
/// `x-hms-window`; with `as: self` in the file, the name alone. Call loops, and call chains more
/// than 4 deep, get [`FetchErrorKind::Loop`](crate::FetchErrorKind::Loop).
///
/// ```no_run
/// use hms_window::{Problem, Request, Response, call};
///
/// /// The document, streamed through.
/// async fn receipt(id: &str) -> Result<Response, Problem> {
///     Ok(call("docs", Request::get(&format!("/docs/{id}"))).await?)
/// }
/// ```
///
/// # Errors
/// Why there is no answer. A window that is stopped or has failed gives one: its status says so.
pub async fn call(window: &str, request: Request) -> Result<Response, FetchError> {
    let target = Target::window(window);
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // Anything else could name another host.
    if window.is_empty() || !window.bytes().all(fits) {
        let why = "a window's name has lower-case letters, digits and '-'".into();
        return Err(FetchError::invalid(target.name(), why));
    }
    let authority = format!("{WINDOW_HOST}{window}");
    send(request, target, Scheme::Http, authority).await
}

async fn send(
    mut request: Request,
    target: Target,
    scheme: Scheme,
    authority: String,
) -> Result<Response, FetchError> {
    if let Some(fault) = request.fault.take() {
        return Err(FetchError::invalid(target.name(), fault));
    }
    let options = request.timeouts.options();
    let parts = request
        .redirected()
        .into_parts(scheme, Some(authority), options);
    let asked = match parts.into_wasi() {
        Ok(request) => client::send(request).await,
        Err(code) => Err(code),
    };
    let answer = asked.and_then(Response::from_wasi);
    answer
        .map(|answer| answer.answered_by(target.clone()))
        .map_err(|code| FetchError::of(&target, code))
}

/// The longest times that a call may take. Each can only shorten what the host allows; without one,
/// the host's holds.
///
/// ```
/// # use hms_window::Timeouts;
/// let quick = Timeouts::new().connect_ms(500).first_byte_ms(2_000).between_bytes_ms(2_000);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    connect_ms: Option<u64>,
    first_byte_ms: Option<u64>,
    between_bytes_ms: Option<u64>,
}

impl Timeouts {
    /// The host's own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Until there is a connection.
    pub fn connect_ms(self, ms: u64) -> Self {
        Timeouts {
            connect_ms: Some(ms),
            ..self
        }
    }

    /// Until the answer begins.
    pub fn first_byte_ms(self, ms: u64) -> Self {
        Timeouts {
            first_byte_ms: Some(ms),
            ..self
        }
    }

    /// Between two chunks of the answer's body.
    pub fn between_bytes_ms(self, ms: u64) -> Self {
        Timeouts {
            between_bytes_ms: Some(ms),
            ..self
        }
    }

    fn options(self) -> Option<RequestOptions> {
        if self == Self::default() {
            return None;
        }
        let ns = |ms: Option<u64>| {
            let ns = Duration::from_millis(ms?).as_nanos();
            Some(u64::try_from(ns).unwrap_or(u64::MAX))
        };
        let options = RequestOptions::new();
        // A host that does not know one of them has a time of its own.
        _ = options.set_connect_timeout(ns(self.connect_ms));
        _ = options.set_first_byte_timeout(ns(self.first_byte_ms));
        _ = options.set_between_bytes_timeout(ns(self.between_bytes_ms));
        Some(options)
    }
}
