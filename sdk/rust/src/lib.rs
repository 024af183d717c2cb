//! Write a service window in Rust.
//!
//! A window is a component that answers HTTP requests. This crate has four main types: the
//! [`Request`], the [`Response`], the [`Caller`] that the gateway has verified, and a [`Store`] for
//! serialisable data.
//!
//! ```no_run
//! use hms_window::{Method, Problem, Request, Response};
//!
//! async fn handle(request: Request) -> Result<Response, Problem> {
//!     let letters = request.caller()?.store("letters")?;
//!     match (request.method(), &*request.segments()) {
//!         (&Method::GET, ["letters", id]) => {
//!             let letter: String = letters.get(id)?.ok_or_else(Problem::not_found)?;
//!             Ok(Response::json(200, &letter))
//!         }
//!         (_, ["letters", _]) => Err(Problem::method_not_allowed("GET, HEAD")),
//!         _ => Err(Problem::not_found()),
//!     }
//! }
//!
//! hms_window::window!(handle);
//! ```
//!
//! Some things may be repeated: [`Request::params`] has all values of a query parameter, and
//! `request.headers().get_all(name)` all fields with a name. [`Response::header`] sets a field, and
//! [`Response::append`] adds one. [`Request::conditional`] and [`Validators`] are for conditional
//! requests, and [`Store::try_update`] makes a change that depends on one.
//!
//! A [`transaction()`] changes several keys at once and emits [`Event`]s with them, which other
//! windows subscribe to. They, and timers, arrive as requests: [`Request::event`].
//!
//! A window that does more than answer and store asks its host: [`fetch()`] sends a request to a
//! service, [`call()`] to another window, and [`config()`] and [`secret()`] read what the operator
//! has set. All of it is granted by the operator in `windows/NAME.yaml`. A component that uses none
//! of them does not import them.
//!
//! A [`span()`] names a part of its work in the trace of the request.
//!
//! Build it with `crate-type = ["cdylib"]` for `wasm32-wasip2`, and deploy the `.wasm`.
//!
//! An instance's memory ends with its request: the host starts a fresh instance for the next. Keep
//! data in the store. Lines on standard output and error go to the window's log.

#![deny(missing_docs)]

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod bindings;
mod body;
mod body_writer;
mod conditional;
mod config;
mod cookies;
mod event;
mod fetch;
mod fetch_error;
mod grant;
mod http_date;
mod id;
mod incoming;
mod next;
mod outgoing;
mod paging;
mod problem;
pub mod range;
mod received_event;
mod request;
mod response;
mod response_body;
mod serve;
pub mod site;
mod span;
pub mod sse;
mod store;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
mod transaction;
mod validators;

pub use body::Body;
pub use body_writer::BodyWriter;
pub use bytes::Bytes;
pub use conditional::Conditional;
pub use config::{Secret, config, secret};
pub use event::{Event, days};
pub use fetch::{Timeouts, call, fetch};
pub use fetch_error::{FetchError, FetchErrorKind};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use id::{id_time_ms, new_id, now_ms, sleep_ms};
pub use next::Next;
pub use paging::Page;
pub use problem::Problem;
pub use received_event::ReceivedEvent;
pub use request::{Caller, Request};
pub use response::Response;
pub use response_body::ResponseBody;
pub use span::{Span, span};
pub use store::{Store, StoreError};
pub use transaction::{Committed, OnceKey, Transaction, TransactionError, transaction};
pub use validators::Validators;

/// Makes an `async fn(Request) -> Result<Response, Problem>` the handler of this component.
///
/// Use it once per crate. A HEAD request reaches the handler as GET, and its answer is sent without
/// the body.
#[macro_export]
macro_rules! window {
    ($handler:path) => {
        struct HmsWindow;

        impl $crate::__private::Guest for HmsWindow {
            async fn handle(
                request: $crate::__private::Request,
            ) -> ::core::result::Result<$crate::__private::Response, $crate::__private::ErrorCode>
            {
                $crate::__private::serve(request, $handler).await
            }
        }

        $crate::__private::export!(HmsWindow with_types_in $crate::__private::wasip3);
        $crate::__sdk_section!();
    };
}

/// Says in a custom section what the component is written with: `hms inspect` shows it. In the
/// crate of the window, since a linker takes from others only what is used.
#[doc(hidden)]
#[macro_export]
macro_rules! __sdk_section {
    () => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            const LENGTH: usize = $crate::__private::SDK.len();

            #[used]
            #[unsafe(link_section = "hms-sdk")]
            static SDK: [u8; LENGTH] = match $crate::__private::SDK.as_bytes().first_chunk() {
                Some(text) => *text,
                None => [0; LENGTH],
            };
        };
    };
}

/// Makes an `async fn(Request, Next) -> Result<Response, Problem>` the handler of this component: a
/// middleware, which stands between a route and its window. See [`Next`].
///
/// Use it once per crate, instead of [`window!`].
#[macro_export]
macro_rules! middleware {
    ($handler:path) => {
        struct HmsMiddleware;

        impl $crate::__private::Guest for HmsMiddleware {
            async fn handle(
                request: $crate::__private::Request,
            ) -> ::core::result::Result<$crate::__private::Response, $crate::__private::ErrorCode>
            {
                $crate::__private::serve_between(request, $handler).await
            }
        }

        $crate::__private::export!(HmsMiddleware with_types_in $crate::__private::wasip3);
        $crate::__sdk_section!();
    };
}

/// Used by the expansion of [`window!`]; not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::serve::{serve, serve_between};
    pub use wasip3;
    pub use wasip3::exports::http::handler::Guest;
    pub use wasip3::http::service::export;
    pub use wasip3::http::types::{ErrorCode, Request, Response};

    /// What a component is written with.
    pub const SDK: &str = concat!("hms-window ", env!("CARGO_PKG_VERSION"));
}
