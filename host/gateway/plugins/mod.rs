//! The steps that a request passes between its route and its upstream, in one fixed order, whatever
//! order the manifest lists them in. On the way in: `ip-allow` -> `cors` (preflights) -> `auth` ->
//! `rate-limit` (it counts per user) -> `body-limit` -> `headers` -> `timeout` -> `idempotency` ->
//! `wasm`. On the way out, errors included: `headers` -> `cors` -> `compression`.
//!
//! [`Rules`] is what one route asks for; [`Plugins`] holds what outlives every route: keys and
//! counters.

pub mod auth;
mod body_limit;
mod compression;
mod cors;
mod headers;
mod holder;
pub mod idempotency;
mod ip_allow;
pub mod rate_limit;
mod timeout;
mod wasm;

pub use cors::preflight_for;
pub use holder::identity;
pub use ip_allow::network;

use crate::body::Body;
use crate::error::RequestError;
use crate::gateway::config::GatewayConfig;
use crate::gateway::headers::{credentials as credentials_of, drop_credentials};
use crate::gateway::manifest::{Field, Map, Node, Route, Tree, unknown};
use crate::gateway::metrics::GatewayMetrics;
use crate::gateway::request_body::Pace;
use auth::{AuthError, Caller, Verifier};
use compression::{AcceptEncoding, Compressor};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use idempotency::Idempotency;
use rate_limit::{Decision, Limiter};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One plugin, as manifests and the JSON Schema know it.
pub struct Plugin {
    pub name: &'static str,
    pub fields: &'static [Field],
    /// Fields without which it says nothing; where there are none its name alone will do.
    pub required: &'static [&'static str],
    pub doc: &'static str,
}

/// The one plugin that may be listed more than once.
const WASM: &str = "wasm";

/// All plugins, in the order in which they run.
pub const ALL: &[Plugin] = &[
    Plugin {
        name: "ip-allow",
        fields: ip_allow::FIELDS,
        required: &["addresses"],
        doc: "Only clients of these addresses and networks may come in.",
    },
    Plugin {
        name: "cors",
        fields: cors::FIELDS,
        required: &["origins"],
        doc: "Pages of other origins may read the answers; preflights are answered here.",
    },
    Plugin {
        name: "auth",
        fields: auth::FIELDS,
        required: &[],
        doc: "A verified token or an API key names the caller, and its scopes decide what the caller may do.",
    },
    Plugin {
        name: "rate-limit",
        fields: rate_limit::FIELDS,
        required: &[],
        doc: "At most so many requests in any period, for each caller.",
    },
    Plugin {
        name: "body-limit",
        fields: body_limit::FIELDS,
        required: &["max"],
        doc: "The largest request body.",
    },
    Plugin {
        name: "headers",
        fields: headers::FIELDS,
        required: &[],
        doc: "Header fields that are set or removed on the way in and out.",
    },
    Plugin {
        name: "timeout",
        fields: timeout::FIELDS,
        required: &[],
        doc: "How long the route waits for its upstream, and for the client's body.",
    },
    Plugin {
        name: "idempotency",
        fields: idempotency::FIELDS,
        required: &[],
        doc: "A POST or PATCH that is sent again with its Idempotency-Key is done once, and answered as the first time.",
    },
    Plugin {
        name: WASM,
        fields: wasm::FIELDS,
        required: &["window"],
        doc: "A component in the chain (wasi:http/middleware): it sees the request, and calls on or answers itself.",
    },
    Plugin {
        name: "compression",
        fields: compression::FIELDS,
        required: &[],
        doc: "Answers are compressed on their way out, with br or gzip, for clients that ask for it.",
    },
];

/// What a route asks of its requests.
#[derive(Debug, Default, PartialEq)]
pub struct Rules {
    ip_allow: Option<ip_allow::Rule>,
    cors: Option<cors::Rule>,
    pub auth: Option<auth::Rule>,
    pub rate_limit: Option<rate_limit::Rule>,
    body_limit: Option<body_limit::Rule>,
    headers: Option<headers::Rule>,
    timeout: Option<timeout::Rule>,
    pub idempotency: Option<idempotency::Rule>,
    /// Names of windows, in the order in which they are visited.
    wasm: Vec<String>,
    compression: Option<compression::Rule>,
}

impl Rules {
    /// The plugins in the order in which they run.
    pub fn names(&self) -> Vec<&'static str> {
        let there = |plugin: &&Plugin| match plugin.name {
            "ip-allow" => self.ip_allow.is_some(),
            "cors" => self.cors.is_some(),
            "auth" => self.auth.is_some(),
            "rate-limit" => self.rate_limit.is_some(),
            "body-limit" => self.body_limit.is_some(),
            "headers" => self.headers.is_some(),
            "timeout" => self.timeout.is_some(),
            "idempotency" => self.idempotency.is_some(),
            "compression" => self.compression.is_some(),
            _ => !self.wasm.is_empty(),
        };
        ALL.iter().filter(there).map(|plugin| plugin.name).collect()
    }

    /// The windows that a request visits before its upstream.
    pub fn middlewares(&self) -> &[String] {
        &self.wasm
    }

    /// Whether a window of the route, a middleware among them, gets what a request shows of itself.
    /// Where no `auth` reads it, it is the upstream's.
    pub fn window_gets_credentials(&self) -> bool {
        let rule = self.auth.as_ref();
        rule.is_none_or(|rule| rule.pass_credentials == Some(true))
    }

    /// Whether a service of the route does.
    pub fn service_gets_credentials(&self) -> bool {
        let rule = self.auth.as_ref();
        rule.is_none_or(|rule| rule.pass_credentials != Some(false))
    }

    /// Whether preflights are answered here.
    pub fn answers_preflights(&self) -> bool {
        self.cors.is_some()
    }

    /// The most bytes of a request body, if the route says so.
    pub fn max_body_bytes(&self) -> Option<u64> {
        self.body_limit.as_ref().map(|rule| rule.max)
    }

    /// How long the upstream may take to begin its answer, if the route says so.
    pub fn response_timeout(&self) -> Option<Duration> {
        self.timeout.as_ref().and_then(|rule| rule.response)
    }

    /// How slow a client may be with its body: the host's `pace`, but for what the route says.
    pub fn body_pace(&self, pace: Pace) -> Pace {
        let Some(rule) = &self.timeout else {
            return pace;
        };
        Pace {
            pause: rule.body_idle.unwrap_or(pace.pause),
            bytes_per_s: rule.body_pace.unwrap_or(pace.bytes_per_s),
            ..pace
        }
    }

    /// How long an answer that has begun may be quiet, if the route says so.
    pub fn stream_idle(&self) -> Option<Duration> {
        self.timeout.as_ref().and_then(|rule| rule.stream_idle)
    }

    /// Reads a manifest's `plugins`.
    pub fn read(node: &Node<'_>) -> Rules {
        let mut rules = Rules::default();
        if *node.tree() == Tree::Nothing {
            return rules;
        }
        let expected = "a list of plugins, as in 'plugins: [auth, rate-limit]'";
        let mut seen = Vec::new();
        for entry in node.list(expected).unwrap_or_default() {
            let Some(plugin) = rules.read_entry(&entry) else {
                continue;
            };
            if plugin.name != WASM && seen.contains(&plugin.name) {
                entry.fault(format_args!("the plugin '{}' is given twice", plugin.name));
            }
            seen.push(plugin.name);
        }
        rules
    }

    /// One entry of the list: a name alone, or a mapping of one name to its settings.
    fn read_entry(&mut self, entry: &Node<'_>) -> Option<&'static Plugin> {
        let (name, settings) = match entry.tree() {
            Tree::Text(name) => (name.as_str(), entry.clone()),
            Tree::Map(_) => {
                let mut entries = entry.entries("a mapping")?.into_iter();
                let Some((name, settings)) = entries.next() else {
                    entry.fault("an empty entry in the list of plugins");
                    return None;
                };
                if let Some((other, _)) = entries.next() {
                    entry.fault(format_args!(
                        "'{other}' stands beside '{name}': indent the settings of a plugin deeper than its name, and begin each plugin with '- '"
                    ));
                    return None;
                }
                (name, settings)
            }
            _ => {
                entry.fault("use the name of a plugin, alone or with its settings, as in '- rate-limit: {limit: 30, window: 60}'");
                return None;
            }
        };
        let known: Vec<&str> = ALL.iter().map(|plugin| plugin.name).collect();
        let Some(plugin) = ALL.iter().find(|plugin| plugin.name == name) else {
            entry.fault(unknown("plugin", name, &known));
            return None;
        };
        let map = if matches!(entry.tree(), Tree::Text(_)) {
            entry.no_fields(plugin.fields)
        } else {
            let fields: Vec<&str> = plugin.fields.iter().map(|field| field.name).collect();
            let expected = format!("the settings of {name}: {}", fields.join(", "));
            settings.map(plugin.fields, &expected)?
        };
        self.set(plugin.name, &map);
        Some(plugin)
    }

    fn set(&mut self, name: &str, map: &Map<'_>) {
        match name {
            "ip-allow" => self.ip_allow = ip_allow::Rule::read(map),
            "cors" => self.cors = cors::Rule::read(map),
            "auth" => self.auth = auth::Rule::read(map),
            "rate-limit" => self.rate_limit = rate_limit::Rule::read(map),
            "body-limit" => self.body_limit = body_limit::Rule::read(map),
            "headers" => self.headers = headers::Rule::read(map),
            "timeout" => self.timeout = timeout::Rule::read(map),
            "idempotency" => self.idempotency = Some(idempotency::Rule::read(map)),
            "compression" => self.compression = Some(compression::Rule::read(map)),
            _ => self.wasm.extend(wasm::read(map)),
        }
    }
}

/// The state behind the plugins.
pub struct Plugins {
    verifier: Verifier,
    limiter: Limiter,
    pub idempotency: Arc<Idempotency>,
    compressor: Compressor,
}

/// What the plugins found out about a request. Kept for refused ones too: the answer and the log
/// need it.
#[derive(Default)]
pub struct PluginState {
    pub route: Option<Arc<Route>>,
    pub caller: Option<Caller>,
    limit: Option<Decision>,
    origin: Option<HeaderValue>,
    method: Method,
    accept_encoding: AcceptEncoding,
    /// Of a request that was refused before it had a route: the one whose `cors` holds for it.
    beside: Option<Arc<Route>>,
}

impl PluginState {
    /// The request has no route; `beside` is the one whose pages may read why.
    pub fn refused(&mut self, beside: Option<&Arc<Route>>, headers: &HeaderMap) {
        self.beside = beside.cloned();
        self.origin = headers.get(header::ORIGIN).cloned();
    }
}

/// What a request showed to be let in, to be asked about again while it lasts.
#[derive(Clone, Default)]
pub struct Admission {
    /// Copied: a value of the request would keep its whole head in memory.
    credentials: HeaderMap,
    rule: Option<auth::Rule>,
}

impl Admission {
    pub fn of(route: &Route, headers: &HeaderMap) -> Self {
        let rule = route.rules.auth.clone();
        let mut credentials = HeaderMap::new();
        if rule.is_some() {
            for (name, value) in &credentials_of(headers) {
                if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                    credentials.append(name, copy);
                }
            }
        }
        Admission { credentials, rule }
    }

    /// Whether there is anything that could end.
    pub fn may_end(&self) -> bool {
        self.rule.is_some()
    }
}

impl Plugins {
    pub fn new(config: &GatewayConfig, metrics: &GatewayMetrics) -> Self {
        let hits = metrics.share_hits();
        Plugins {
            verifier: Verifier::counting(config.auth.clone(), metrics.tokens_too_large()),
            limiter: Limiter::counting(config.limits.max_rate_keys, hits.clone()),
            idempotency: Arc::new(Idempotency::new(
                config.idempotency.clone(),
                &config.limits,
                hits,
            )),
            compressor: Compressor::default(),
        }
    }

    /// Keeps the keys that tokens are checked with fresh until `end`.
    pub fn keep_keys(&self, end: &CancellationToken) {
        self.verifier.keep_keys(end);
    }

    /// Notes how it stands with these keys.
    pub fn measure_keys(&self, metrics: &GatewayMetrics) {
        for (issuer, state) in self.verifier.key_states() {
            metrics.keys(issuer, state);
        }
    }

    /// Fetches the keys of every issuer of tokens now. Gives what came of each, by its name.
    pub async fn read_keys_again(&self) -> Vec<(&str, Result<(), String>)> {
        self.verifier.read_again().await
    }

    /// The way in. What is found is in `state`, also when one refuses; an answer ends the way
    /// here.
    pub async fn enter(
        &self,
        route: &Arc<Route>,
        parts: &mut Parts,
        client: IpAddr,
        state: &mut PluginState,
    ) -> Result<Option<Response<Body>>, RequestError> {
        state.route = Some(route.clone());
        state.origin = parts.headers.get(header::ORIGIN).cloned();
        state.method = parts.method.clone();
        let rules = &route.rules;
        if rules.compression.is_some() {
            state.accept_encoding = AcceptEncoding::read(&parts.headers);
        }
        if let Some(rule) = &rules.ip_allow {
            rule.admit(client)?;
        }
        if let Some(rule) = &rules.cors
            && preflight_for(&parts.method, &parts.headers).is_some()
        {
            return Ok(Some(rule.preflight(&parts.headers, &route.methods)?));
        }
        if let Some(rule) = &rules.auth {
            let caller = self.verifier.caller(&parts.headers, rule).await?;
            let caller = state.caller.insert(caller);
            rule.admit(caller, &parts.method)?;
        }
        if let Some(rule) = &rules.rate_limit {
            let user = state.caller.as_ref().map(identity);
            let decision = self
                .limiter
                .admit(rule, &route.name, user, &parts.headers, client);
            state.limit.insert(decision).outcome()?;
        }
        auth::strip_keys(&mut parts.headers);
        // A window's are dropped on the way to it: a route may have both kinds of target.
        if !rules.service_gets_credentials() {
            drop_credentials(&mut parts.headers);
        }
        if let Some(rule) = &rules.headers {
            rule.request.apply(&mut parts.headers);
        }
        Ok(None)
    }

    /// Whether what a request was let in with would still let it in. Where the route asks for
    /// nothing, it does.
    ///
    /// While the issuer's keys cannot be had a token that was believed before holds on: an outage
    /// of the provider says nothing of its tokens. It ends at its own `exp`, which is looked at
    /// before the keys.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn admits_still(&self, admission: &Admission) -> Result<(), AuthError> {
        let Some(rule) = &admission.rule else {
            return Ok(());
        };
        match self.verifier.caller(&admission.credentials, rule).await {
            Ok(_) | Err(AuthError::KeysUnavailable) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The way out, for every answer. Of one without a route `cors` alone has something to say.
    pub fn leave(&self, state: &PluginState, headers: &mut HeaderMap) {
        if let Some(limit) = &state.limit {
            limit.write(headers);
        }
        if let Some(rule) = state
            .route
            .as_ref()
            .and_then(|route| route.rules.headers.as_ref())
        {
            rule.response.apply(headers);
        }
        let route = state.route.as_ref().or(state.beside.as_ref());
        if let Some(rule) = route.and_then(|route| route.rules.cors.as_ref()) {
            rule.stamp(state.origin.as_ref(), headers);
        }
    }

    /// The last step of the way out.
    pub fn compress(&self, state: &PluginState, response: Response<Body>) -> Response<Body> {
        let rules = state.route.as_ref().map(|route| &route.rules);
        match rules.and_then(|rules| rules.compression.as_ref()) {
            Some(rule) => {
                let (accept_encoding, method) = (state.accept_encoding, &state.method);
                self.compressor
                    .compress(rule, accept_encoding, method, response)
            }
            None => response,
        }
    }
}
