//! How the gateway calls windows, whoever runs them.

use crate::body::Body;
use crate::error::RequestError;
use futures_util::future::BoxFuture;
use http::{Request, Response};

/// The windows, as the gateway sees them. Whoever is behind it leases a release for the request,
/// and keeps the lease until the answer's body has ended.
pub trait Windows: Send + Sync {
    /// Lets `window` answer. The request's URI is absolute: the authority that the client asked
    /// for, and the path as the window is to see it.
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, WindowAnswer>;
}

/// What came of a request to a window.
pub struct WindowAnswer {
    /// The head of the answer with its streaming body, or why there is none.
    pub outcome: Result<Response<Body>, RequestError>,
    /// The number of the release that was leased for it, also where that failed.
    pub release: Option<u64>,
}
