//! `rate-limit` in the chain.

use super::rule::FIELDS;
use super::{Decision, Limiter, Rule};
use crate::plugins::{Exchange, Plugin, Setup, identity};
use crate::routes::manifest::Route;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Map};
use http::Response;

impl Plugin for Rule {
    const NAME: &'static str = "rate-limit";
    const DOC: &'static str =
        "Limits the requests of each caller in any period; further ones are refused with 429.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = Limiter;
    type Notes = Option<Decision>;

    fn shared(setup: &Setup<'_>) -> Limiter {
        let max_keys = setup.limits.max_rate_keys;
        Limiter::counting(max_keys, setup.metrics.share_hits().clone())
    }

    fn read(map: &Map<'_>) -> Option<Rule> {
        Some(Rule::parse(map))
    }

    async fn request(
        &self,
        limiter: &Limiter,
        route: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        let user = exchange.caller.as_ref().map(identity);
        let (headers, client) = (&exchange.head.headers, exchange.origin.client);
        let decision = limiter.admit(self, &route.name, user, headers, client);
        exchange.notes.rate_limit.insert(decision).outcome()?;
        Ok(None)
    }

    fn response(
        &self,
        _: &Limiter,
        exchange: &Exchange,
        mut response: Response<Body>,
    ) -> Response<Body> {
        if let Some(decision) = &exchange.notes.rate_limit {
            decision.write(response.headers_mut());
        }
        response
    }
}
