//! The file of issuers (`--issuers`): YAML or JSON, a list with one entry per issuer.

use super::algorithms;
use super::caller::KEYS;
use super::claims;
use super::config::IssuerConfig;
use super::source::JwksSource;
use hms_disk::files::{read_at_most, utf8};
use hms_manifest::{Fault, Field, Kind, Map, Node, Tree, read_document};
use serde_json::json;
use std::path::Path;

/// Bytes of the file. A real one has some hundred.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Issuers of one host, and of one route. Each has keys in memory, and a fetch now and then.
pub(super) const MAX_ISSUERS: usize = 64;

/// Audiences of one issuer.
const MAX_AUDIENCES: usize = 64;

/// Bytes of an issuer's name.
const MAX_NAME: usize = 64;

const FIELDS: &[Field] = &[
    Field {
        name: "name",
        kind: Kind::Text("staff"),
        doc: "Its name in manifests: lower-case letters, digits and '-'.",
    },
    Field {
        name: "issuer",
        kind: Kind::Text("https://id.example.org"),
        doc: "The exact 'iss' of its tokens.",
    },
    Field {
        name: "audience",
        kind: Kind::Own(|| json!({ "type": ["string", "array"] })),
        doc: "A token's 'aud' must name it, or one of a list. Default: any.",
    },
    Field {
        name: "jwks",
        kind: Kind::Text("https://id.example.org/keys"),
        doc: "Its key set: a file or a URL. Default: OIDC discovery at the issuer.",
    },
    Field {
        name: "scope-claim",
        kind: Kind::Text("permissions"),
        doc: "The claim that has the scopes: its name, or a JSON pointer such as /realm_access/roles. Default: scope, then scp, then scopes.",
    },
    Field {
        name: "algorithms",
        kind: Kind::Texts(algorithms::ASYMMETRIC.len(), "[ES256, RS256]"),
        doc: "The accepted algorithms. A key without 'alg' gets the first of these that suits it. Default: all supported ones.",
    },
    Field {
        name: "bare-users",
        kind: Kind::Flag,
        doc: "Whether its users are named by 'sub' alone even if there are other issuers, as they were with one issuer. At most one entry may set this. Default: false.",
    },
];

/// Reads the file.
///
/// # Errors
///
/// A sentence with every fault and its line.
pub fn load(path: &Path) -> Result<Vec<IssuerConfig>, String> {
    let bytes = read_at_most(path, MAX_FILE_BYTES)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let text = utf8(bytes).map_err(|why| format!("{}: {why}", path.display()))?;
    parse(&text).map_err(|faults| {
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.display(), said.join("; "))
    })
}

/// Parses the text of a file of issuers.
///
/// # Errors
///
/// Every fault; at least one.
pub(super) fn parse(text: &str) -> Result<Vec<IssuerConfig>, Vec<Fault>> {
    read_document(text, "list of issuers", |root| {
        let entries =
            root.list("a list of issuers, each beginning with '- name: …' and 'issuer: …'")?;
        if entries.is_empty() || entries.len() > MAX_ISSUERS {
            root.fault(format_args!("name 1 to {MAX_ISSUERS} issuers"));
            return None;
        }
        let mut issuers: Vec<IssuerConfig> = Vec::new();
        for entry in &entries {
            let Some(issuer) = read(entry) else {
                continue;
            };
            if issuers.iter().any(|other| other.name == issuer.name) {
                entry.fault(format_args!("the name '{}' is duplicated", issuer.name));
            }
            // The `iss` of a token selects the issuer, so it must be unique.
            if issuers.iter().any(|other| other.issuer == issuer.issuer) {
                entry.fault("another entry has the same 'issuer'; give that one both audiences");
            }
            if issuer.bare_users && issuers.iter().any(|other| other.bare_users) {
                entry.fault("another entry has 'bare-users': with two of them two users could have one name");
            }
            issuers.push(issuer);
        }
        Some(issuers)
    })
}

fn read(entry: &Node<'_>) -> Option<IssuerConfig> {
    let map = entry.map(FIELDS, "an issuer with the fields 'name' and 'issuer'")?;
    let (has_name, has_issuer) = (map.require("name"), map.require("issuer"));
    let name = has_name.and_then(|_| map.parsed("name", parse_own_name));
    let issuer = has_issuer.and_then(|_| map.parsed("issuer", not_empty));
    let audience = audience(&map);
    let jwks = match map.get("jwks") {
        Some(_) => map.parsed("jwks", JwksSource::parse),
        None => issuer.as_deref().and_then(|issuer| {
            JwksSource::discover(issuer)
                .map_err(|reason| entry.fault(reason))
                .ok()
        }),
    };
    let scope_claim = map.parsed("scope-claim", claims::parse_place);
    let algorithms = map.each("algorithms", algorithms::parse);
    Some(IssuerConfig {
        name: name?,
        issuer: Some(issuer?),
        audience: audience?,
        jwks: jwks?,
        scope_claim,
        algorithms: algorithms.unwrap_or_default(),
        bare_users: map.flag("bare-users").unwrap_or(false),
    })
}

/// One string or a list of them.
fn audience(map: &Map<'_>) -> Option<Vec<String>> {
    const EXPECTED: &str = "an audience, or a list of them";
    let Some(node) = map.get("audience") else {
        return Some(Vec::new());
    };
    let items = match node.tree() {
        Tree::List(_) => node.list(EXPECTED)?,
        _ => vec![node.clone()],
    };
    if items.is_empty() || items.len() > MAX_AUDIENCES {
        node.fault(format_args!(
            "name 1 to {MAX_AUDIENCES} audiences, or leave it out"
        ));
        return None;
    }
    let texts: Vec<Option<String>> = items
        .iter()
        .map(|item| {
            let text = item.text(EXPECTED)?;
            not_empty(text).map_err(|reason| item.fault(reason)).ok()
        })
        .collect();
    texts.into_iter().collect()
}

fn parse_own_name(text: &str) -> Result<String, String> {
    if text == KEYS {
        return Err(format!(
            "'{KEYS}' is reserved for the users of API keys: choose another name"
        ));
    }
    parse_name(text)
}

/// Validates the name of an issuer, in files and manifests. It has no colon: see
/// [`super::caller::Naming`].
///
/// # Errors
///
/// The rule for names.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    fits.then(|| text.to_string()).ok_or_else(|| {
        format!(
            "'{text}' is not a valid issuer name: use 1 to {MAX_NAME} lower-case letters, digits \
             and '-'"
        )
    })
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".into());
    }
    Ok(text.to_string())
}
