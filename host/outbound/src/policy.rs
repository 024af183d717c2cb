//! Which grant lets a request pass.

use crate::target::Target;
use hms_core::path::{Oddities, Pattern};
use hms_grants::mask::masked_uri;
use hms_grants::{OutboundGrant, WindowGrants};
use http::Method;
use std::path::Path;

/// Bytes of a path that is worth naming in the line that would allow it.
const MAX_NAMED_PATH: usize = 256;

/// What a grant lets pass, ready to be asked for every request.
#[derive(Debug)]
pub(crate) struct Policy {
    /// None: every path.
    paths: Option<Vec<Pattern>>,
}

/// How far a request fits a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is allowed.
    Whole,
    /// The grant is for this origin, and for other methods or paths.
    OriginAlone,
    No,
}

impl Policy {
    /// Of a grant whose patterns were checked when its file was read: one that cannot be read lets
    /// nothing pass.
    pub(crate) fn of(grant: &OutboundGrant) -> Policy {
        let patterns = || {
            grant
                .paths
                .iter()
                .filter_map(|path| Pattern::parse(path).ok())
        };
        Policy {
            paths: (!grant.paths.is_empty()).then(|| patterns().collect()),
        }
    }

    /// Whether `grant`, whose policy this is, lets a request pass.
    pub(crate) fn fit(&self, grant: &OutboundGrant, method: &Method, target: &Target) -> Fit {
        let origin = &target.origin;
        if grant.scheme != origin.scheme
            || grant.port != origin.port
            || !grant.host.matches(&origin.host)
        {
            return Fit::No;
        }
        let method = match grant.methods.as_slice() {
            [] => *method == Method::GET || *method == Method::HEAD,
            methods => methods.contains(method),
        };
        // A path that services read differently is none that a pattern can vouch for.
        let path = self.paths.as_ref().is_none_or(|paths| {
            target.odd == Oddities::default() && paths.iter().any(|it| it.matches(&target.path))
        });
        match method && path {
            true => Fit::Whole,
            false => Fit::OriginAlone,
        }
    }
}

/// The line of a request that no grant allows, with the entry that would allow it. `near` is the
/// line of a grant for the same origin. The secrets of `granted` are masked; a path that has one is
/// not named as what to allow.
pub(crate) fn denied(
    method: &Method,
    target: &Target,
    granted: &WindowGrants,
    file: &Path,
    near: Option<usize>,
) -> String {
    let (origin, file) = (target.origin.to_string(), file.display());
    let (origin, path) = (
        masked_uri(granted, &origin),
        masked_uri(granted, &target.path),
    );
    let shown: String = path.chars().take(MAX_NAMED_PATH).collect();
    let mut entry = format!("- {{to: {}, methods: [{}]", quoted(&origin), quoted(method));
    let named = path.len() <= MAX_NAMED_PATH
        && path == target.path
        && Pattern::parse(&target.path).is_ok_and(|pattern| pattern.matches(&target.path));
    if named {
        entry.push_str(&format!(", paths: [{}]", quoted(&target.path)));
    }
    entry.push('}');
    let near = near.map_or(String::new(), |line| {
        format!(" ({file}:{line} is for other methods or paths of it)")
    });
    format!(
        "outgoing request refused: no grant allows {method} {origin}{shown}{near}; to allow it, add \
         to 'outbound' in {file}: {entry}"
    )
}

/// As YAML in double quotes, which reads JSON's.
fn quoted(text: &impl ToString) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hms_grants::HostPattern;
    use http::uri::Scheme;
    use proptest::prelude::*;

    /// A grant for `https://api.card.example` without more.
    pub(crate) fn grant() -> OutboundGrant {
        OutboundGrant {
            line: 3,
            scheme: Scheme::HTTPS,
            host: HostPattern::Exact("api.card.example".into()),
            port: 443,
            methods: Vec::new(),
            paths: Vec::new(),
            inject: Vec::new(),
            placeholders: Vec::new(),
            timeout: None,
            at_once: None,
            private: Vec::new(),
            ca: None,
            client_cert: None,
        }
    }

    fn fit(grant: &OutboundGrant, method: Method, uri: &str) -> Fit {
        let target = Target::read(&uri.parse().unwrap()).unwrap();
        Policy::of(grant).fit(grant, &method, &target)
    }

    #[test]
    fn request_passes_by_scheme_host_port_method_and_path_together() {
        let mut charges = grant();
        charges.methods = vec![Method::POST];
        charges.paths = vec!["/v1/charges/**".into()];
        for (uri, expected) in [
            ("https://api.card.example/v1/charges", Fit::Whole),
            ("https://api.card.example/v1/charges/7?a=b", Fit::Whole),
            ("https://API.card.example.:443/v1/%63harges", Fit::Whole),
            ("https://api.card.example/v1/chargesX", Fit::OriginAlone),
            ("https://api.card.example/v1", Fit::OriginAlone),
            (
                "https://api.card.example/v1/charges/a%2Fb",
                Fit::OriginAlone,
            ),
            ("https://api.card.example/v1/charges//b", Fit::OriginAlone),
            ("http://api.card.example/v1/charges", Fit::No),
            ("http://api.card.example:443/v1/charges", Fit::No),
            ("https://api.card.example:8443/v1/charges", Fit::No),
            ("https://card.example/v1/charges", Fit::No),
            ("https://api.card.example.evil.example/v1/charges", Fit::No),
        ] {
            assert_eq!(fit(&charges, Method::POST, uri), expected, "{uri}");
        }
        let uri = "https://api.card.example/v1/charges";
        assert_eq!(fit(&charges, Method::GET, uri), Fit::OriginAlone);
    }

    #[test]
    fn grant_without_methods_is_for_get_and_head_and_without_paths_for_all() {
        let grant = grant();
        let uri = "https://api.card.example/projects/group%2Fname";
        assert_eq!(fit(&grant, Method::GET, uri), Fit::Whole);
        assert_eq!(fit(&grant, Method::HEAD, uri), Fit::Whole);
        assert_eq!(fit(&grant, Method::POST, uri), Fit::OriginAlone);
        assert_eq!(fit(&grant, Method::OPTIONS, uri), Fit::OriginAlone);
    }

    #[test]
    fn wildcard_is_for_names_below_its_own() {
        let mut any = grant();
        any.host = HostPattern::Below("card.example".into());
        for (uri, expected) in [
            ("https://api.card.example/", Fit::Whole),
            ("https://eu.api.card.example/", Fit::Whole),
            ("https://card.example/", Fit::No),
            ("https://evilcard.example/", Fit::No),
            ("https://card.example.evil.example/", Fit::No),
        ] {
            assert_eq!(fit(&any, Method::GET, uri), expected, "{uri}");
        }
    }

    #[test]
    fn line_of_a_refusal_has_the_entry_that_would_allow_it_and_no_query() {
        let uri = "https://api.card.example:8443/v1/charges?key=sk_live";
        let target = Target::read(&uri.parse().unwrap()).unwrap();
        let line = denied(
            &Method::POST,
            &target,
            &WindowGrants::default(),
            Path::new("windows/payments.yaml"),
            Some(7),
        );
        assert_eq!(
            line,
            "outgoing request refused: no grant allows POST https://api.card.example:8443/v1/charges \
             (windows/payments.yaml:7 is for other methods or paths of it); to allow it, add to \
             'outbound' in windows/payments.yaml: - {to: \"https://api.card.example:8443\", methods: \
             [\"POST\"], paths: [\"/v1/charges\"]}"
        );
    }

    proptest! {
        /// However a path is spelt, what passes is what is asked, and that is below the pattern.
        #[test]
        fn no_spelling_of_a_path_leaves_its_pattern(path in "[a-c/.%2eEfF5cC;\\\\*]{0,24}") {
            let mut charges = grant();
            charges.paths = vec!["/a/**".into()];
            let Ok(uri) = format!("https://api.card.example/{path}").parse() else {
                return Ok(());
            };
            let Ok(target) = Target::read(&uri) else {
                return Ok(());
            };
            if Policy::of(&charges).fit(&charges, &Method::GET, &target) == Fit::Whole {
                let asked = target.uri().unwrap();
                prop_assert!(asked.path() == "/a" || asked.path().starts_with("/a/"), "{asked}");
                let lower = asked.path().to_ascii_lowercase();
                for odd in ["..", "%2e", "%2f", "%5c", "//", "\\"] {
                    let dotted = odd == ".." && !lower.split('/').any(|segment| segment.starts_with("..;") || segment == "..");
                    prop_assert!(dotted || !lower.contains(odd), "{asked}");
                }
            }
        }
    }
}
