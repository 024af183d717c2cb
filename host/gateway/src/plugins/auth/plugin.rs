//! `auth` in the chain.

use super::rule::FIELDS;
use super::{Rule, Verifier, strip_keys};
use crate::plugins::{Exchange, Plugin, Setup};
use crate::request::headers::drop_credentials;
use crate::routes::manifest::Route;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_core::trace::SpanKind;
use hms_manifest::{Field, Map};
use http::Response;

impl Plugin for Rule {
    const NAME: &'static str = "auth";
    const DOC: &'static str = "Requires a token or an API key, which names the caller; its scopes decide what the caller may do.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = Verifier;
    type Notes = ();

    fn shared(setup: &Setup<'_>) -> Verifier {
        Verifier::counting(setup.auth.clone(), setup.metrics.tokens_too_large())
    }

    fn read(map: &Map<'_>) -> Option<Rule> {
        Some(Rule::parse(map))
    }

    async fn request(
        &self,
        verifier: &Verifier,
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        let span = exchange.spans.begin(SpanKind::Auth);
        let caller = verifier.caller(&exchange.head.headers, self).await;
        let caller = span.ended(caller)?;
        let caller = exchange.caller.insert(caller);
        self.admit(caller, &exchange.method)?;
        Ok(None)
    }
}

/// Removes the credentials once nothing in the gateway reads them any more. Those that a window
/// must not see are removed on the way to it: a route may have both kinds of target.
pub fn withhold_credentials(route: &Route, exchange: &mut Exchange) {
    let headers = &mut exchange.head.headers;
    strip_keys(headers);
    if !route.rules.service_gets_credentials() {
        drop_credentials(headers);
    }
}
