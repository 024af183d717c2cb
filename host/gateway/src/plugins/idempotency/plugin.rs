//! `idempotency` in the chain.

use super::{FIELDS, Idempotency, IdempotentRequest, Rule};
use crate::plugins::plugin::Around;
use crate::plugins::{Exchange, Plugin, Rest, Setup, identity};
use crate::routes::manifest::Route;
use crate::upstream::Answer;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Map};
use http::{Request, Response};
use std::path::Path;
use std::sync::Arc;

impl Plugin for Rule {
    const NAME: &'static str = "idempotency";
    const DOC: &'static str = "A POST or PATCH that is repeated with its Idempotency-Key is done once, and answered like the first time.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = Arc<Idempotency>;
    type Notes = Option<Arc<IdempotentRequest>>;

    fn shared(setup: &Setup<'_>) -> Arc<Idempotency> {
        let (path, hits) = (setup.idempotency, setup.metrics.share_hits());
        let path = path.map(Path::to_path_buf);
        Arc::new(Idempotency::new(path, setup.limits, hits))
    }

    fn read(map: &Map<'_>) -> Option<Rule> {
        Some(Rule::parse(map))
    }

    async fn request(
        &self,
        _: &Arc<Idempotency>,
        route: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        let user = exchange.caller.as_ref().map(identity);
        let (target, client) = (&exchange.target, exchange.origin.client);
        let read = IdempotentRequest::read(self, route, target, &exchange.head, user, client)?;
        if let Some(idempotent) = read {
            exchange.bounds.no_larger_than(self.max_body);
            // The body is read whole in any case, for the fingerprint.
            exchange.bounds.early_body = false;
            exchange.notes.idempotency = Some(Arc::new(idempotent));
        }
        Ok(None)
    }
}

impl Around for Rule {
    fn concerns(exchange: &Exchange) -> bool {
        exchange.notes.idempotency.is_some()
    }

    async fn around<R: Rest>(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> Result<Answer, RequestError> {
        let Some(idempotent) = exchange.notes.idempotency.clone() else {
            return R::run(exchange, request).await;
        };
        let idempotency = exchange.plugins.idempotency.clone();
        let outcome = idempotency.once::<R>(idempotent, exchange, request).await;
        outcome.map_or_else(|error| Ok(Err(error).into()), Ok)
    }
}
