//! `cache`: answers that say so are stored in memory and answer later requests, as HTTP caching
//! defines it for a shared cache (RFC 9111).
//!
//! The way of a request: its `key` is made of what the upstream would see -> the `memory` is asked
//! for an answer that is fresh, that whoever asks may have, and that is of the release that serves
//! now -> `stored` makes the answer of it. Otherwise the upstream answers; the `plan` says by the
//! `directives` of the answer whether it is stored, and `fill` stores it with its last byte.
//!
//! It is the innermost step around the upstream. All that decides about a request comes before it,
//! middlewares included, and its answers pass the response sides like any other.

mod directives;
mod fill;
mod key;
mod memory;
mod plan;
mod stored;
#[cfg(test)]
mod tests;

pub use memory::Memory;

use crate::plugins::plugin::Around;
use crate::plugins::{Exchange, Plugin, Rest, Setup};
use crate::request::headers::{drop_credentials, may_say_who};
use crate::routes::manifest::Route;
use crate::upstream::Answer;
use fill::Destined;
use futures_util::future::{Either, ready};
use hms_core::body::Body;
use hms_core::call::WindowAnswer;
use hms_core::error::RequestError;
use hms_manifest::{Field, Kind, Map};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use key::Key;
use memory::{Lookup, Mark};
use plan::{Circumstances, Plan, is_plain, wants_no_store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The upper bound of `max-body`. 8 MiB: larger files are better served by something that reads
/// them from a disk.
const MAX_BODY_BYTES: u64 = 8 << 20;

const DEFAULT_BODY_BYTES: u64 = 1 << 20;

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The settings of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    max_body: u64,
}

impl Plugin for Rule {
    const NAME: &'static str = "cache";
    const DOC: &'static str = "Stores answers in memory that say how long they are fresh, and answers later requests with them (RFC 9111).";
    const FIELDS: &'static [Field] = &[Field {
        name: "max-body",
        kind: Kind::Size(1..=MAX_BODY_BYTES),
        doc: "The largest body of an answer that is stored. Default: 1MiB.",
    }];

    type Shared = Arc<Memory>;
    type Notes = CacheNotes;

    fn shared(setup: &Setup<'_>) -> Arc<Memory> {
        Arc::new(Memory::new(setup.limits.max_cache_bytes, setup.metrics))
    }

    fn read(map: &Map<'_>) -> Option<Rule> {
        Some(Rule {
            max_body: map.size("max-body").unwrap_or(DEFAULT_BODY_BYTES),
        })
    }

    async fn request(
        &self,
        _: &Arc<Memory>,
        _: &Route,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Body>>, RequestError> {
        // What a middleware makes of a credential or a cookie, this plugin cannot know.
        let says_who = exchange.head.headers.keys().any(may_say_who);
        exchange.notes.cache.says_who = says_who || exchange.caller.is_some();
        Ok(None)
    }
}

/// What is noted about one request.
#[derive(Debug, Default)]
pub struct CacheNotes {
    /// Whether it says who asks, by a credential or a cookie.
    says_who: bool,
    /// A [`Use`], or 0.
    used: AtomicU8,
}

impl CacheNotes {
    /// What the cache did, in the word of the access log. None on routes without it.
    pub fn used(&self) -> Option<&'static str> {
        let used = self.used.load(Ordering::Relaxed);
        USES.iter()
            .find(|it| **it as u8 == used)
            .map(|it| it.word())
    }

    fn note(&self, used: Use) {
        self.used.store(used as u8, Ordering::Relaxed);
    }
}

/// What the cache did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It answered.
    Hit = 1,
    /// It had no answer.
    Miss,
    /// It had one that was too old.
    Stale,
    /// The method is none that it answers.
    Method,
    /// It was not asked.
    Bypass,
}

const USES: [Use; 5] = [Use::Hit, Use::Miss, Use::Stale, Use::Method, Use::Bypass];

impl Use {
    fn word(self) -> &'static str {
        match self {
            Use::Hit => "hit",
            Use::Miss => "miss",
            Use::Stale => "stale",
            Use::Method => "method",
            Use::Bypass => "bypass",
        }
    }

    /// The member of `Cache-Status` for it.
    fn status(self, stored: bool) -> HeaderValue {
        HeaderValue::from_static(match (self, stored) {
            (Use::Hit, _) => "hms; hit",
            (Use::Miss, true) => "hms; fwd=miss; stored",
            (Use::Miss, false) => "hms; fwd=miss",
            (Use::Stale, true) => "hms; fwd=stale; stored",
            (Use::Stale, false) => "hms; fwd=stale",
            (Use::Method, _) => "hms; fwd=method",
            (Use::Bypass, _) => "hms; fwd=bypass",
        })
    }
}

impl Around for Rule {
    fn concerns(exchange: &Exchange) -> bool {
        let rules = exchange.rules(false);
        rules.is_some_and(|rules| rules.cache.is_some()) && exchange.plugins.cache.is_on()
    }

    /// A hit waits for nothing. The way onward is boxed, so that requests of other routes, whose
    /// state is moved, reserve no space for it.
    fn around<R: Rest>(
        exchange: Arc<Exchange>,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Answer, RequestError>> + Send {
        match look(&exchange, request) {
            Looked::Answer(answer) => Either::Left(ready(Ok(answer))),
            Looked::Onward(onward) => Either::Right(Box::pin(onward.run::<R>(exchange))),
        }
    }
}

/// Whether an answer with this head would be stored, whoever asked for it.
pub fn is_stored(status: StatusCode, headers: &HeaderMap) -> bool {
    let circumstances = Circumstances {
        says_who: false,
        now: SystemTime::now(),
        took: Duration::ZERO,
    };
    Plan::of(status, headers, &circumstances).is_some()
}

/// What becomes of a request.
enum Looked {
    /// It is answered.
    Answer(Answer),
    Onward(Onward),
}

/// A request that the upstream has to answer.
struct Onward {
    request: Request<Body>,
    used: Use,
    then: Then,
}

/// What becomes of the answer.
enum Then {
    Nothing,
    /// It may be stored.
    Store(Key, Mark),
    /// It may say that the address has changed.
    Change(Mark),
}

/// The stored answer to `request`, or how it goes on.
fn look(exchange: &Exchange, mut request: Request<Body>) -> Looked {
    let onward = |request, used, then| {
        Looked::Onward(Onward {
            request,
            used,
            then,
        })
    };
    let memory = &exchange.plugins.cache;
    let Ok(route) = exchange.matched() else {
        return onward(request, Use::Bypass, Then::Nothing);
    };
    // From here on the fields are those that the upstream sees.
    if !route.rules.window_gets_credentials() && !route.upstream.has_services() {
        drop_credentials(request.headers_mut());
    }
    let (method, headers) = (request.method(), request.headers());
    if !method.is_safe() {
        let mark = memory.mark(request.uri().path());
        return onward(request, Use::Method, Then::Change(mark));
    }
    let head = *method == Method::HEAD;
    if !head && *method != Method::GET {
        return onward(request, Use::Method, Then::Nothing);
    }
    // A body could change the answer, and is not in the key.
    if !is_plain(headers) || !exchange.bodyless || exchange.upgrade.is_some() {
        return onward(request, Use::Bypass, Then::Nothing);
    }
    let says_who = exchange.notes.cache.says_who || headers.keys().any(may_say_who);
    let may_be_used = |stored: &stored::Stored| {
        (stored.is_open() || !says_who) && exchange.upstreams.is_current(route, stored.source)
    };
    let key = Key::of(route.version, &exchange.target, &request);
    let now = Instant::now();
    let used = match memory.find(&key, headers, may_be_used, now) {
        Lookup::Fresh(stored) => {
            exchange.notes.cache.note(Use::Hit);
            let mut response = stored.answer(headers, now);
            let headers = response.headers_mut();
            headers.append(CACHE_STATUS, Use::Hit.status(false));
            return Looked::Answer(Answer::from(WindowAnswer {
                outcome: Ok(response),
                release: stored.release,
                edition: None,
            }));
        }
        Lookup::Stale => Use::Stale,
        Lookup::Nothing => Use::Miss,
    };
    if exchange.upstreams.is_in_between(route) {
        return onward(request, Use::Bypass, Then::Nothing);
    }
    let then = match head || wants_no_store(headers) {
        true => Then::Nothing,
        // Before the upstream is asked, so that a change meanwhile is seen.
        false => Then::Store(key, memory.mark(request.uri().path())),
    };
    onward(request, used, then)
}

impl Onward {
    async fn run<R: Rest>(self, exchange: Arc<Exchange>) -> Result<Answer, RequestError> {
        let Onward {
            request,
            used,
            then,
        } = self;
        exchange.notes.cache.note(used);
        let seen = match then {
            Then::Store(..) => Some(request.headers().clone()),
            _ => None,
        };
        let change = match then {
            Then::Change(mark) => Some(Change {
                memory: exchange.plugins.cache.clone(),
                mark: Some(mark),
            }),
            _ => None,
        };
        let begun = Instant::now();
        let mut answer = R::run(exchange.clone(), request).await?;
        let Ok(mut response) = answer.outcome else {
            return Ok(answer);
        };
        // RFC 9111 section 4.4.
        if let Some(change) = change
            && is_error(response.status())
        {
            change.refused();
        }
        let mut stored = false;
        if let (Then::Store(key, mark), Some(seen), Some(source)) = (then, seen, answer.source) {
            let from = stored::Arrival {
                source,
                release: answer.release,
                mark,
                came: Instant::now(),
                now: SystemTime::now(),
            };
            let circumstances = Circumstances {
                says_who: exchange.notes.cache.says_who || seen.keys().any(may_say_who),
                now: from.now,
                took: from.came.saturating_duration_since(begun),
            };
            let plan = Plan::of(response.status(), response.headers(), &circumstances);
            let route = exchange.matched()?;
            if let (Some(plan), Some(rule)) = (plan, &route.rules.cache) {
                let destined = Destined {
                    memory: exchange.plugins.cache.clone(),
                    upstreams: exchange.upstreams.clone(),
                    route: route.clone(),
                    key,
                    seen,
                    plan,
                    from,
                    max_body: rule.max_body,
                };
                (response, stored) = destined.fill(response);
            }
        }
        response
            .headers_mut()
            .append(CACHE_STATUS, used.status(stored));
        answer.outcome = Ok(response);
        Ok(answer)
    }
}

/// A change under way. It counts unless the upstream has said that nothing has changed: where its
/// client leaves, or it fails on the way, it may have been made.
struct Change {
    memory: Arc<Memory>,
    mark: Option<Mark>,
}

impl Change {
    fn refused(mut self) {
        self.mark = None;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.memory.changed(mark);
        }
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
