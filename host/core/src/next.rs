//! What comes after a middleware: the rest of a request's way, as something that can be called.

use crate::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::sync::Arc;

/// The rest of the way. Travels with a [`WindowCall`](crate::call::WindowCall) to the instance of a
/// middleware. It always answers: what fails on the way is an answer as the client would see it.
#[derive(Clone)]
pub struct Next(Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>);

impl Next {
    /// Wraps the rest of the chain; `call` may be called any number of times.
    pub fn new(
        call: impl Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Next(Arc::new(call))
    }

    /// Has the rest of the way answer `request`.
    pub fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        (self.0)(request)
    }
}
