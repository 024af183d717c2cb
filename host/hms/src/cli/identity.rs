//! From the settings to whose tokens are believed.

use crate::config::Settings;
use anyhow::{Context, ensure};
use hms_disk::reserve::Reserve;
use hms_gateway::plugins::auth::{
    ApiKeys, AuthConfig, IssuerConfig, JwksSource, KeySource, dev_secret, load_issuers,
};
use std::path::Path;
use std::sync::Arc;

/// Whose tokens the settings say to believe; without any, those of the development secret in the
/// data folder.
pub(super) fn auth(
    settings: &Settings,
    data: &Path,
    reserve: Arc<Reserve>,
) -> anyhow::Result<AuthConfig> {
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
            "--issuer and --audience apply to a provider's tokens: set its keys with --jwks, or the provider with --oidc"
        );
        KeySource::DevSecret(dev_secret::load_or_create(data).context("the development secret")?)
    };
    Ok(AuthConfig {
        api_keys: ApiKeys::open(data, reserve).context("the API keys")?,
        upstream_allow: settings.upstream_allow.clone(),
        max_token_bytes: usize::try_from(settings.max_token.bytes())?,
        ..AuthConfig::new(keys)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn read(args: &[&str]) -> Result<AuthConfig, String> {
        let data = tempfile::tempdir().unwrap();
        let line = Line::try_parse_from([&["hms"], args].concat()).map_err(|e| e.to_string())?;
        auth(&line.settings, data.path(), Arc::default()).map_err(|error| format!("{error:#}"))
    }

    fn issuers(args: &[&str]) -> Vec<IssuerConfig> {
        match read(args).unwrap().keys {
            KeySource::Issuers(issuers) => issuers,
            KeySource::DevSecret(_) => panic!("{args:?}: the development secret"),
        }
    }

    #[test]
    fn settings_select_the_trusted_issuers() {
        assert!(matches!(read(&[]).unwrap().keys, KeySource::DevSecret(_)));
        let [only] = &*issuers(&["--jwks", "keys.json"]) else {
            panic!();
        };
        assert_eq!((&*only.name, &only.issuer), ("default", &None));
        assert!(only.audience.is_empty());

        let url = "https://id.example";
        let [only] = &*issuers(&["--oidc", url, "--audience", "hms"]) else {
            panic!();
        };
        assert_eq!(only.issuer.as_deref(), Some(url));
        assert_eq!(only.audience, ["hms"]);
        assert_eq!(only.jwks, JwksSource::Discovery(url.into()));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("issuers.yaml");
        let text =
            "- {name: a, issuer: https://a.example}\n- {name: b, issuer: https://b.example}\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(issuers(&["--issuers", file.to_str().unwrap()]).len(), 2);
    }

    #[test]
    fn conflicting_or_unreadable_identity_settings_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("issuers.yaml");
        std::fs::write(&file, "- {name: a, issuer: http://a.example}\n").unwrap();
        let file = file.to_str().unwrap();
        for (args, expected) in [
            (
                &["--jwks", "k", "--oidc", "https://a.example"][..],
                "cannot be used with",
            ),
            (&["--issuers", file, "--jwks", "k"], "cannot be used with"),
            (
                &["--issuers", file, "--audience", "a"],
                "cannot be used with",
            ),
            (
                &["--oidc", "https://a.example", "--issuer", "a"],
                "cannot be used with",
            ),
            (&["--issuer", "https://a.example"], "--jwks"),
            (&["--audience", "hms"], "--oidc"),
            (
                &["--oidc", "http://a.example"],
                "--oidc: an issuer without jwks",
            ),
            (&["--jwks", "http://a.example/keys"], "must be https"),
            (&["--issuers", file], "line 1"),
            (&["--issuers", "nowhere.yaml"], "nowhere.yaml"),
        ] {
            let sentence = read(args).err().unwrap();
            assert!(sentence.contains(expected), "{args:?}: {sentence}");
        }
    }
}
