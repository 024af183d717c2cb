//! What a plugin is, and the macro that makes the chain from the list of plugins.
//!
//! Everything is dispatched statically: a plugin that a route does not use costs one comparison.

use super::auth::AuthConfig;
use super::exchange::Exchange;
use crate::limits::Limits;
use crate::metrics::GatewayMetrics;
use crate::routes::manifest::Route;
use crate::upstream::Answer;
use futures_util::future::Either;
use hms_core::body::Body;
use hms_core::error::RequestError;
use hms_manifest::{Field, Map};
use http::request::Parts;
use http::{Request, Response};
use std::fmt::Debug;
use std::future::ready;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

/// A plugin, as its settings in one route. It has a request side, a response side, a side around
/// the upstream ([`Around`]), or several of them.
pub trait Plugin: Sized + Debug + PartialEq {
    /// Its name in manifests.
    const NAME: &'static str;
    /// One sentence for the JSON Schema.
    const DOC: &'static str;
    const FIELDS: &'static [Field];
    /// Required fields. If there are none, manifests may give the name alone.
    const REQUIRED: &'static [&'static str] = &[];
    /// Whether a route may list it more than once. [`Plugin::add`] then takes the further entries.
    const REPEATS: bool = false;
    /// Whether it takes part in the answer to a request that matched no route, by the settings of a
    /// route of the same path.
    const ANSWERS_UNMATCHED: bool = false;

    /// State shared by the requests of all routes.
    type Shared: Send + Sync;
    /// What it notes about one request for its other sides.
    type Notes: Default + Send + Sync;

    fn shared(setup: &Setup<'_>) -> Self::Shared;

    /// Reads the settings. Reports faults to `map`.
    fn read(map: &Map<'_>) -> Option<Self>;

    fn add(&mut self, _further: Self) {}

    /// Notes what the response side needs, before any plugin may refuse the request.
    fn note(&self, _head: &Parts) -> Self::Notes {
        Self::Notes::default()
    }

    /// The request side. An answer ends the chain here.
    ///
    /// # Errors
    ///
    /// Why the request is refused.
    fn request(
        &self,
        _shared: &Self::Shared,
        _route: &Route,
        _exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Option<Response<Body>>, RequestError>> + Send {
        ready(Ok(None))
    }

    /// The response side, for every answer, errors included.
    fn response(
        &self,
        _shared: &Self::Shared,
        _exchange: &Exchange,
        response: Response<Body>,
    ) -> Response<Body> {
        response
    }
}

/// The side of a plugin around the upstream: it decides whether and how often the rest of the chain
/// runs.
pub trait Around: Plugin {
    /// Whether this request concerns it.
    fn concerns(exchange: &Exchange) -> bool;

    /// Answers `request`, by calling `R` or without it.
    ///
    /// # Errors
    ///
    /// If the request could not even be sent. Later failures are in the answer.
    fn around<R: Rest>(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Answer, RequestError>> + Send;
}

/// The rest of the chain: what is left between a request and its upstream.
pub trait Rest: 'static {
    /// Answers `request` by the plugins that are left, and the upstream.
    fn run(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Answer, RequestError>> + Send;
}

/// The plugin `P` around the rest `R`.
pub struct Wrapped<P, R>(PhantomData<(P, R)>);

impl<P: Around + 'static, R: Rest> Rest for Wrapped<P, R> {
    fn run(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Answer, RequestError>> + Send {
        match P::concerns(&exchange) {
            true => Either::Left(P::around::<R>(exchange, request)),
            false => Either::Right(R::run(exchange, request)),
        }
    }
}

/// The plugin whose line in the list says `around N`.
pub struct Position<const N: usize>;

pub trait Positioned {
    type Plugin: Around + 'static;
}

/// What plugins are created from.
pub struct Setup<'a> {
    /// How callers are identified.
    pub auth: &'a AuthConfig,
    /// The file of idempotency keys.
    pub idempotency: Option<&'a Path>,
    /// The host's limits, which bound the state of plugins.
    pub limits: &'a Limits,
    /// Where plugins register what they count.
    pub metrics: &'a GatewayMetrics,
}

/// A plugin, as manifests and the JSON Schema see it.
pub struct Description {
    /// Its name in manifests.
    pub name: &'static str,
    /// Its settings.
    pub fields: &'static [Field],
    /// The settings that must be there.
    pub required: &'static [&'static str],
    /// Whether a route may list it more than once.
    pub repeats: bool,
    /// One sentence for the JSON Schema.
    pub doc: &'static str,
}

impl Description {
    /// The description of `P`, from its constants.
    pub const fn of<P: Plugin>() -> Description {
        Description {
            name: P::NAME,
            fields: P::FIELDS,
            required: P::REQUIRED,
            repeats: P::REPEATS,
            doc: P::DOC,
        }
    }
}

/// Generates from the list of plugins: their descriptions, the settings of a route, the state
/// shared by all requests, the notes of one request, and the chain.
macro_rules! plugins {
    ($(
        $field:ident: $plugin:ty
        $(, around $around:literal)?
        $(, answers $answers:literal)?
        $(, then $then:path)?;
    )*) => {
        /// All plugins, in the order of their request sides.
        pub const ALL: &[Description] = &[$(Description::of::<$plugin>()),*];

        /// The plugins of one route.
        #[derive(Debug, Default, PartialEq)]
        pub struct Rules {
            $(
                /// The plugin's settings; none if the route does not list it.
                pub $field: Option<$plugin>,
            )*
        }

        /// The state that the requests of all routes share, by plugin.
        pub struct Plugins {
            $(
                /// The plugin's state.
                pub $field: <$plugin as Plugin>::Shared,
            )*
        }

        /// The notes of the plugins about one request.
        #[derive(Default)]
        pub struct Notes {
            $(
                /// The plugin's notes.
                pub $field: <$plugin as Plugin>::Notes,
            )*
        }

        $($(
            impl Positioned for Position<$around> {
                type Plugin = $plugin;
            }
        )?)*

        impl Rules {
            /// The plugins in the order in which they run.
            pub fn names(&self) -> Vec<&'static str> {
                let names = [$(self.$field.as_ref().map(|_| <$plugin as Plugin>::NAME),)*];
                names.into_iter().flatten().collect()
            }

            /// Reads the settings of the plugin `name`.
            fn take(&mut self, name: &str, map: &Map<'_>) {
                $(if name == <$plugin as Plugin>::NAME {
                    match (<$plugin as Plugin>::read(map), &mut self.$field) {
                        (Some(further), Some(first)) if <$plugin as Plugin>::REPEATS => {
                            first.add(further);
                        }
                        (Some(rule), field) => *field = Some(rule),
                        (None, _) => {}
                    }
                })*
            }
        }

        impl Notes {
            /// For a request that `rules` apply to. If it has `matched` no route, only of the
            /// plugins that take part in its answer all the same.
            pub fn of(rules: &Rules, head: &Parts, matched: bool) -> Notes {
                let mut notes = Notes::default();
                $(if let Some(rule) = &rules.$field
                    && (matched || <$plugin as Plugin>::ANSWERS_UNMATCHED)
                {
                    notes.$field = rule.note(head);
                })*
                notes
            }
        }

        impl Plugins {
            /// The state of all plugins, empty.
            pub fn new(setup: &Setup<'_>) -> Self {
                Plugins {
                    $($field: <$plugin as Plugin>::shared(setup),)*
                }
            }

            /// The request sides, in the order of the list, until one refuses or answers.
            ///
            /// # Errors
            ///
            /// Why the request goes no further.
            pub async fn request(
                &self,
                route: &Route,
                exchange: &mut Exchange,
            ) -> Result<Option<Response<Body>>, RequestError> {
                $(
                    if let Some(rule) = &route.rules.$field
                        && let Some(answer) = rule.request(&self.$field, route, exchange).await?
                    {
                        return Ok(Some(answer));
                    }
                    $($then(route, exchange);)?
                )*
                Ok(None)
            }

            /// The response sides, in the order of their `answers`.
            pub fn response(
                &self,
                exchange: &Exchange,
                mut response: Response<Body>,
            ) -> Response<Body> {
                const LAST: u8 = {
                    let mut last = 0;
                    $($(if $answers > last {
                        last = $answers;
                    })?)*
                    last
                };
                for place in 1..=LAST {
                    $($(if place == $answers
                        && let Some(rules) = exchange.rules(<$plugin as Plugin>::ANSWERS_UNMATCHED)
                        && let Some(rule) = &rules.$field
                    {
                        response = rule.response(&self.$field, exchange, response);
                    })?)*
                }
                response
            }
        }
    };
}

pub(super) use plugins;
