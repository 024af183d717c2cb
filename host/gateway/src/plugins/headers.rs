//! `headers`: sets or removes header fields, on the way in and on the way out.

use super::{Exchange, Plugin, Setup};
use crate::request::headers::is_ours;
use crate::routes::manifest::Route;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Kind, Map};
use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Names that one rule removes.
const MAX_NAMES: usize = 64;

const EDITS: &[Field] = &[
    Field {
        name: "set",
        kind: Kind::TextMap("{x-frame-options: DENY}"),
        doc: "Fields to set; they replace existing fields of the same name.",
    },
    Field {
        name: "remove",
        kind: Kind::Texts(MAX_NAMES, "[server, x-powered-by]"),
        doc: "Fields to remove, before others are set.",
    },
];

const FIELDS: &[Field] = &[
    Field {
        name: "request",
        kind: Kind::Map(EDITS),
        doc: "Changes to the request, before it goes to the upstream.",
    },
    Field {
        name: "response",
        kind: Kind::Map(EDITS),
        doc: "Changes to the answer, including errors.",
    },
];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rule {
    request: Edits,
    response: Edits,
}

/// The changes to one header section.
#[derive(Debug, Default, PartialEq, Eq)]
struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
}

impl Plugin for Rule {
    const NAME: &'static str = "headers";
    const DOC: &'static str = "Sets or removes header fields of requests and answers.";
    const FIELDS: &'static [Field] = FIELDS;

    type Shared = ();
    type Notes = ();

    fn shared(_: &Setup<'_>) {}

    fn read(map: &Map<'_>) -> Option<Rule> {
        let edits = |name| {
            map.map(name)
                .map(|map| Edits::read(&map))
                .unwrap_or_default()
        };
        Some(Rule {
            request: edits("request"),
            response: edits("response"),
        })
    }

    async fn request(
        &self,
        (): &(),
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        self.request.apply(&mut exchange.head.headers);
        Ok(None)
    }

    fn response(&self, (): &(), _: &Exchange, mut response: Response<Body>) -> Response<Body> {
        self.response.apply(response.headers_mut());
        response
    }
}

impl Edits {
    fn read(map: &Map<'_>) -> Edits {
        let pair = |key: &str, text: &str| {
            let value = HeaderValue::from_str(text)
                .map_err(|_| format!("'{text}' cannot be sent as a header"))?;
            Ok((name(key)?, value))
        };
        Edits {
            remove: map.each("remove", name).unwrap_or_default(),
            set: map.pairs("set", pair).unwrap_or_default(),
        }
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

/// A field that a route may change: not one that frames a message, nor one that only the gateway
/// sets.
fn name(text: &str) -> Result<HeaderName, String> {
    let name =
        HeaderName::try_from(text).map_err(|_| format!("'{text}' is not a valid header name"))?;
    if is_ours(&name) || ["host", "content-length"].contains(&name.as_str()) {
        return Err(format!(
            "'{text}' belongs to the gateway and cannot be changed"
        ));
    }
    Ok(name)
}
