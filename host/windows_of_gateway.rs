//! Where the gateway meets the windows: the registry, as the gateway sees it.

use crate::body::Body;
use crate::gateway::{Answer, Windows};
use crate::windows::Registry;
use futures_util::future::BoxFuture;
use http::Request;
use std::sync::Arc;

/// The registry behind the gateway.
pub struct GatewayWindows(pub Arc<Registry>);

impl Windows for GatewayWindows {
    fn call<'a>(&'a self, window: &'a str, request: Request<Body>) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let (outcome, release) = self.0.serve(window, request).await;
            Answer::of(outcome, release)
        })
    }
}
