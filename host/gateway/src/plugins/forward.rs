//! The inner end of the chain: addresses a request to its route's upstream, and sends it.

use super::exchange::Exchange;
use super::plugin::Rest;
use crate::upstream::location;
use crate::upstream::{Answer, Sending, path_and_query};
use hms_core::body::Body;
use hms_core::error::RequestError;
use http::{Request, Uri};
use std::marker::PhantomData;
use std::sync::Arc;

/// The rest `R`, with the path and the fields of the request rewritten for the upstream, and the
/// locations in the answer rewritten for the client.
pub struct Addressed<R>(PhantomData<R>);

impl<R: Rest> Rest for Addressed<R> {
    async fn run(
        exchange: Arc<Exchange>,
        mut request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        exchange.stamp(request.headers_mut())?;
        let path = path_and_query(exchange.matched()?, &exchange.target)?;
        *request.uri_mut() = Uri::from(path);
        let mut answer = R::run(exchange.clone(), request).await?;
        if let Ok(response) = &mut answer.outcome {
            let (route, headers) = (exchange.matched()?, response.headers_mut());
            location::rewrite(headers, route, &exchange.target, &exchange.asked);
        }
        Ok(answer)
    }
}

/// The upstream itself.
pub struct Upstream;

impl Rest for Upstream {
    async fn run(exchange: Arc<Exchange>, request: Request<Body>) -> Result<Answer, RequestError> {
        let route = exchange.matched()?;
        // A middleware makes a request of its own.
        let direct = route.rules.middlewares().is_empty();
        let sending = Sending {
            holder: exchange.holder,
            route,
            target: &exchange.target,
            upload: &exchange.upload,
            upgrade: exchange.upgrade.as_ref().filter(|_| direct),
            stream_idle: exchange.bounds.stream_idle,
            response: exchange.bounds.response,
            trailers: exchange.trailers,
            spans: &exchange.spans,
        };
        exchange.upstreams.call(&sending, request).await
    }
}
