//! From the settings to whose tokens are believed.

use crate::config::Settings;
use crate::gateway::plugins::auth::{
    ApiKeys, AuthConfig, IssuerConfig, JwksSource, KeySource, dev_secret, load_issuers,
};
use anyhow::{Context, ensure};
use std::path::Path;
use std::sync::Arc;

/// Whose tokens the settings say to believe; without any, those of the development secret in the data folder.
pub(super) fn auth(settings: &Settings, data: &Path) -> anyhow::Result<AuthConfig> {
    let audience = settings.audience.iter().cloned().collect();
    let keys = if let Some(file) = &settings.issuers {
        let issuers = load_issuers(file).map_err(anyhow::Error::msg);
        KeySource::Issuers(issuers.context("--issuers")?)
    } else if let Some(issuer) = &settings.oidc {
        let jwks = JwksSource::discover(issuer).map_err(anyhow::Error::msg);
        KeySource::Issuers(vec![IssuerConfig {
            issuer: Some(issuer.clone()),
            audience,
            ..IssuerConfig::only(jwks.context("--oidc")?)
        }])
    } else if let Some(source) = &settings.jwks {
        let jwks = JwksSource::parse(source).map_err(anyhow::Error::msg);
        KeySource::Issuers(vec![IssuerConfig {
            issuer: settings.issuer.clone(),
            audience,
            ..IssuerConfig::only(jwks.context("--jwks")?)
        }])
    } else {
        ensure!(
            settings.issuer.is_none() && settings.audience.is_none(),
            "--issuer and --audience pin the tokens of a provider: name its keys with --jwks, or the provider with --oidc"
        );
        KeySource::DevSecret(dev_secret::load_or_create(data).context("the development secret")?)
    };
    let api_keys = ApiKeys::open(data).context("the API keys")?;
    Ok(AuthConfig {
        api_keys: Arc::new(api_keys),
        ..AuthConfig::new(keys)
    })
}
