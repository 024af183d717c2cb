//! The credentials that admitted a request, checked again while it lasts.

use super::{Plugins, auth};
use crate::request::headers::credentials;
use crate::routes::manifest::Route;
use crate::upstream::Admitted;
use futures_util::future::BoxFuture;
use hms_core::error::RequestError;
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// Time between checks whether the client of a WebSocket is still admitted. Each costs one hash.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The credentials that admitted a request.
#[derive(Clone, Default)]
pub struct Admission {
    /// Copied: a value shared with the request would keep its whole head in memory.
    credentials: HeaderMap,
    rule: Option<auth::Rule>,
}

impl Admission {
    /// Keeps what a later check needs: the credentials, if the route asks for any.
    pub fn of(route: &Route, headers: &HeaderMap) -> Self {
        let rule = route.rules.auth.clone();
        let mut copies = HeaderMap::new();
        if rule.is_some() {
            for (name, value) in &credentials(headers) {
                if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                    copies.append(name, copy);
                }
            }
        }
        Admission {
            credentials: copies,
            rule,
        }
    }
}

impl Plugins {
    /// Whether the request would still be admitted. On a route without `auth` it always is.
    ///
    /// While the issuer's keys are unavailable, a token that was accepted before stays accepted: an
    /// outage of the provider says nothing about its tokens. The token still ends at its own `exp`,
    /// which is checked before the keys.
    ///
    /// # Errors
    ///
    /// Why it would be refused.
    pub async fn admits_still(&self, admission: &Admission) -> Result<(), RequestError> {
        let Some(rule) = &admission.rule else {
            return Ok(());
        };
        match self.auth.caller(&admission.credentials, rule).await {
            Ok(_) | Err(auth::AuthError::KeysUnavailable) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An admission that must hold as long as a WebSocket lasts.
pub struct LastingAdmission {
    /// Verifies the credentials again.
    pub plugins: Arc<Plugins>,
    /// The credentials and the rule that admitted them.
    pub admission: Admission,
}

impl Admitted for LastingAdmission {
    fn lapse(&self) -> BoxFuture<'_, RequestError> {
        Box::pin(async {
            if self.admission.rule.is_none() {
                return std::future::pending().await;
            }
            loop {
                if let Err(error) = self.plugins.admits_still(&self.admission).await {
                    return error;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::metrics::GatewayMetrics;
    use crate::plugins::Setup;
    use crate::plugins::auth::{AuthConfig, IssuerConfig, JwksSource, KeySource};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::header;
    use std::time::Instant;

    /// Of a token that was verified when there still were keys.
    fn admission(expiry_s: u64) -> Admission {
        let text = "uri: /ws/**\nupstream: http://192.0.2.1\nplugins: [auth]\n";
        let route = Route::parse("ws", text).unwrap();
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let header = part(r#"{"alg":"ES256","kid":"1"}"#.into());
        let claims = part(format!(r#"{{"sub":"alice","exp":{expiry_s}}}"#));
        let token = format!("Bearer {header}.{claims}.AAAA");
        let field = (header::AUTHORIZATION, token.parse().unwrap());
        Admission::of(&route, &HeaderMap::from_iter([field]))
    }

    #[tokio::test]
    async fn provider_outage_ends_no_websocket_before_its_token_expires() {
        let data = tempfile::tempdir().unwrap();
        let gone = JwksSource::File(data.path().join("gone.json"));
        let issuers = vec![IssuerConfig::only(gone)];
        let auth = AuthConfig {
            leeway: Duration::ZERO,
            ..AuthConfig::new(KeySource::Issuers(issuers))
        };
        let metrics = GatewayMetrics::new();
        let plugins = Arc::new(Plugins::new(&Setup {
            auth: &auth,
            idempotency: None,
            limits: &Limits::default(),
            metrics: &metrics,
        }));
        let now_s = jsonwebtoken::get_current_timestamp();
        let lasting = |expiry_s| LastingAdmission {
            plugins: plugins.clone(),
            admission: admission(expiry_s),
        };
        let (lasting, ending) = (lasting(now_s + 3600), lasting(now_s + 3));
        let begun = Instant::now();
        let ended = tokio::select! {
            error = lasting.lapse() => panic!("ended by {error:?}"),
            error = ending.lapse() => error,
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it goes on"),
        };
        assert!(
            ended.status() == http::StatusCode::UNAUTHORIZED,
            "{ended:?}"
        );
        assert!(
            begun.elapsed() >= Duration::from_secs(1),
            "it ended at once"
        );
    }
}
