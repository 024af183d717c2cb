//! What a guest may read of its window's grants: its configuration, and the secrets that are
//! revealed to it. `wasi:config`, Spin's variables and wasmCloud's secrets all read it here.

use hms_grants::outbound::PLACEHOLDER;
use hms_grants::{Secret, WindowGrants};
use std::collections::BTreeMap;

/// What is behind a name.
#[derive(Debug, PartialEq)]
pub(super) enum Setting<'a> {
    /// An entry of `config`.
    Config(&'a str),
    /// The value of a secret that is revealed.
    Revealed(&'a Secret),
    /// The name of a secret that the host fills in where it is used.
    Placeholder(&'a str),
}

impl Setting<'_> {
    /// As text.
    ///
    /// # Errors
    /// Where a secret is not UTF-8: the sentence for the guest, which has nothing of the value.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Setting::Config(text) => Ok((*text).to_owned()),
            Setting::Placeholder(name) => Ok(format!("{PLACEHOLDER}{name}")),
            Setting::Revealed(secret) => match std::str::from_utf8(secret.expose()) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err("the secret is not UTF-8 text".to_owned()),
            },
        }
    }
}

/// What is behind `name`, if anything is: `config` comes first, then what is revealed.
pub(super) fn setting<'a>(granted: &'a WindowGrants, name: &str) -> Option<Setting<'a>> {
    let config = granted.grants.config.get(name);
    config
        .map(|text| Setting::Config(text))
        .or_else(|| secret(granted, name))
}

/// The secret of that name, if the guest may know anything of it.
pub(super) fn secret<'a>(granted: &'a WindowGrants, name: &str) -> Option<Setting<'a>> {
    if let Some(secret) = granted.revealed(name) {
        return Some(Setting::Revealed(secret));
    }
    let filled_in = placeholders(granted).find(|filled_in| *filled_in == name);
    filled_in.map(Setting::Placeholder)
}

/// Everything that can be read, by name.
pub(super) fn all(granted: &WindowGrants) -> BTreeMap<&str, Setting<'_>> {
    let grants = &granted.grants;
    let names = grants.config.keys().chain(&grants.reveal);
    let names = names.map(String::as_str).chain(placeholders(granted));
    names
        .filter_map(|name| Some((name, setting(granted, name)?)))
        .collect()
}

/// The secrets that the host fills in, but for those that are revealed.
fn placeholders(granted: &WindowGrants) -> impl Iterator<Item = &str> {
    let outbound = granted.grants.outbound.iter();
    let names = outbound.flat_map(|grant| grant.placeholders.iter());
    let names = names.filter(|name| !granted.grants.reveal.contains(*name));
    names.map(String::as_str)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hms_grants::{Grants, HostPattern, OutboundGrant, Secrets};
    use http::uri::Scheme;

    /// `currency` is configured, `key` revealed, `hidden` not, `filled-in` is a placeholder.
    pub(in crate::interfaces) fn granted() -> WindowGrants {
        let secret = |name: &str, value: &[u8]| (name.to_owned(), Secret::new(value.to_vec()));
        WindowGrants {
            grants: Grants {
                config: [("currency".to_owned(), "EUR".to_owned())].into(),
                reveal: ["key".to_owned(), "binary".to_owned(), "missing".to_owned()].into(),
                outbound: vec![OutboundGrant {
                    line: 1,
                    scheme: Scheme::HTTPS,
                    host: HostPattern::Exact("api.card.example".into()),
                    port: 443,
                    methods: Vec::new(),
                    paths: Vec::new(),
                    inject: Vec::new(),
                    placeholders: vec!["filled-in".into(), "key".into()],
                    timeout: None,
                    at_once: None,
                    private: Vec::new(),
                    ca: None,
                    client_cert: None,
                }],
                ..Grants::default()
            },
            secrets: Secrets::from([
                secret("key", b"sk_live_42"),
                secret("binary", b"\xff\xfe"),
                secret("hidden", b"hidden value"),
                secret("filled-in", b"filled in value"),
            ]),
            ..WindowGrants::default()
        }
    }

    fn read(name: &str) -> Option<Result<String, String>> {
        setting(&granted(), name).map(|setting| setting.text())
    }

    #[test]
    fn guest_reads_what_is_configured_or_revealed_and_nothing_else() {
        assert_eq!(read("currency"), Some(Ok("EUR".into())));
        assert_eq!(read("key"), Some(Ok("sk_live_42".into())));
        assert_eq!(read("hidden"), None);
        assert_eq!(read("missing"), None);
        assert_eq!(read("Currency"), None);
    }

    #[test]
    fn secret_that_the_host_fills_in_reads_as_its_placeholder() {
        assert_eq!(read("filled-in"), Some(Ok("hms-secret:filled-in".into())));
    }

    #[test]
    fn secret_that_is_not_text_is_refused_without_its_value() {
        assert_eq!(
            read("binary"),
            Some(Err("the secret is not UTF-8 text".into()))
        );
    }

    #[test]
    fn readable_settings_are_listed_once() {
        let granted = granted();
        let names: Vec<_> = all(&granted).into_keys().collect();
        assert_eq!(names, ["binary", "currency", "filled-in", "key"]);
    }
}
