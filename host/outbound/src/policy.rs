//! Which grant lets a request pass.

use crate::target::Target;
use hms_core::path::{Oddities, Pattern};
use hms_grants::mask::masked_uri;
use hms_grants::{OutboundGrant, WindowGrants, suggest};
use hms_net::client::NotAllowed;
use http::Method;
use std::path::Path;

/// Characters of a path that are shown in the line of a refusal.
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

/// The line of a request that no grant allows, with the entry that would allow it and nothing more.
/// `near` is the line of a grant for the same origin. The secrets of `granted` are masked.
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
    let near = near.map_or(String::new(), |line| {
        format!(" ({file}:{line} is for other methods or paths of it)")
    });
    let uri = target.uri().map_err(|error| error.to_string());
    let remedy = match uri.and_then(|uri| suggest::entry(granted, method, &uri)) {
        Ok(entry) => format!("to allow it, add to 'outbound' in {file}: - {entry}"),
        Err(why) => format!("no entry of 'outbound' in {file} can allow it alone: {why}"),
    };
    format!("outgoing request refused: no grant allows {method} {origin}{shown}{near}; {remedy}")
}

/// The line of a request that `entry` allows, and whose service has an address that may not be
/// connected to.
pub(crate) fn prohibited(
    origin: &str,
    why: NotAllowed,
    entry: &OutboundGrant,
    granted: &WindowGrants,
) -> String {
    let origin = masked_uri(granted, origin);
    let remedy = match why {
        NotAllowed::NotPublic(address) => format!(
            "to allow it, write in the entry of {}: {}",
            granted.at(entry.line),
            suggest::private(entry, address)
        ),
        NotAllowed::OwnListener(_) => {
            "no grant allows that; windows are called as http://hms-svc-NAME, by 'calls'".into()
        }
    };
    format!("outgoing request to {origin} refused: {why}; {remedy}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hms_grants::{GrantsFile, HostPattern};
    use hms_manifest::Manifest;
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

    #[test]
    fn line_of_a_prohibited_address_has_the_network_that_would_allow_it() {
        let granted = WindowGrants {
            folder: "windows".into(),
            file: "payments.yaml".into(),
            ..WindowGrants::default()
        };
        let mut entry = grant();
        entry.private = vec!["192.168.0.0/16".parse().unwrap()];
        let line = |why| prohibited("https://api.card.example", why, &entry, &granted);
        assert_eq!(
            line(NotAllowed::NotPublic("10.1.2.3".parse().unwrap())),
            "outgoing request to https://api.card.example refused: 10.1.2.3 is not an address of the \
             public internet; to allow it, write in the entry of windows/payments.yaml:3: private: \
             [\"192.168.0.0/16\", \"10.1.2.3/32\"]"
        );
        let own = line(NotAllowed::OwnListener("127.0.0.1:9001".parse().unwrap()));
        assert!(
            own.contains("no grant allows that") && !own.contains("private"),
            "{own}"
        );
    }

    /// What a grants file with the suggested entry grants, where there is one.
    fn suggested(method: &Method, target: &Target) -> Option<OutboundGrant> {
        let line = denied(
            method,
            target,
            &WindowGrants::default(),
            Path::new("w.yaml"),
            None,
        );
        let (_, entry) = line.split_once("in w.yaml: - ")?;
        let file = GrantsFile::parse("w", &format!("outbound:\n  - {entry}\n"));
        let [entry] = <[_; 1]>::try_from(file.expect(&line).grants.outbound).expect(&line);
        Some(entry)
    }

    proptest! {
        /// A suggested entry can be loaded, and allows the call and none beside it.
        #[test]
        fn suggested_entry_allows_the_call_and_no_sibling(
            method in "(GET|POST|PURGE|get|M-SEARCH|[A-Z*a!#]{1,3})",
            host in "([a-z]{1,3}\\.example|[A-Z0-9.-]{1,6}|127\\.0\\.0\\.1|\\[::1\\])\\.?",
            port in "(:80|:443|:8080)?",
            path in "(/[a-c*{}%\\[\\];:,'\"#&.~ -]{0,4}|/%7[bB]|/%2[aAfF]|/\\*\\*){0,4}",
            scheme in "https?",
        ) {
            let Ok(uri) = format!("{scheme}://{host}{port}{path}").parse() else {
                return Ok(());
            };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let Ok(target) = Target::read(&uri) else {
                return Ok(());
            };
            let Some(entry) = suggested(&method, &target) else {
                return Ok(());
            };
            let fit = |method: &Method, target: &Target| {
                Policy::of(&entry).fit(&entry, method, target) == Fit::Whole
            };
            prop_assert!(fit(&method, &target), "{entry:?}");
            for other in [Method::GET, Method::POST, Method::HEAD, Method::DELETE] {
                prop_assert_eq!(fit(&other, &target), other == method, "{:?}", entry);
            }
            let with = |change: &dyn Fn(&mut Target)| {
                let mut sibling = target.clone();
                change(&mut sibling);
                sibling
            };
            for sibling in [
                with(&|it| it.path.push('x')),
                with(&|it| it.path.push_str("/x")),
                with(&|it| it.path = "/other".into()),
                with(&|it| it.path = it.path.replace(|c: char| c != '/', "z") + "z"),
                with(&|it| it.origin.port ^= 1),
                with(&|it| it.origin.host.insert(0, 'x')),
                with(&|it| it.origin.host.insert_str(0, "x.")),
                with(&|it| it.odd.empty_segments = true),
            ] {
                prop_assert!(!fit(&method, &sibling), "{entry:?} {sibling:?}");
            }
        }

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
