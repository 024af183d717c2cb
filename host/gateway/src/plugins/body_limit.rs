//! `body-limit`: the largest request body of a route.

use super::{Exchange, Plugin, Setup};
use crate::routes::manifest::Route;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Kind, Map};
use http::Response;

#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    max: u64,
}

impl Plugin for Rule {
    const NAME: &'static str = "body-limit";
    const DOC: &'static str = "Limits the size of request bodies.";
    const FIELDS: &'static [Field] = &[Field {
        name: "max",
        kind: Kind::Size(0..=1 << 40),
        doc: "The largest request body, such as 1MiB; a larger one is refused with 413. The host's own limit applies as well.",
    }];
    const REQUIRED: &'static [&'static str] = &["max"];

    type Shared = ();
    type Notes = ();

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        map.require("max")?;
        map.size("max").map(|max| Rule { max })
    }

    async fn request(
        &self,
        (): &(),
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        exchange.bounds.no_larger_than(self.max);
        Ok(None)
    }
}
