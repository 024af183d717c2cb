//! What a release can do beyond answering: what its component imports **and** its window is
//! granted. An operator agrees to it where it grows, be it by a new release or by an edit of the
//! file.
//!
//! Each grant that an import makes use of is one [`Ability`], a sentence. Sentences name lines,
//! which move. So whether one is new is decided by its atoms: one for each method and path, one
//! for each secret that may leave by them, and so on.
//!
//! Events are the exception: they are delivered to a window whatever its release imports. `events`
//! has what is said of them, and `words` the sentences of all other grants.

mod events;
mod words;

pub use words::{not_yet_granted, plain, ungranted};

use crate::outbound::{ClientCert, TemplatePart};
use crate::{HostPattern, OutboundGrant, SecretSource, WindowGrants};
use hms_core::path::Pattern;
use http::Method;
use http::uri::Scheme;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use words::{call, outbound};

/// What one grant lets an import do.
#[derive(Debug, Clone, PartialEq)]
pub struct Ability {
    /// The imported interface, without its version. Empty where it takes none.
    pub import: String,
    /// What it may do, after "it may": `POST https://api.card.example/v1/charges/** with secret
    /// card-key (windows/payments.yaml:3)`. Without an import what is done with it, after "it":
    /// `receives events of docs (windows/payments.yaml:9)`.
    pub may: String,
    atoms: Vec<Atom>,
}

/// The smallest thing that can be granted.
#[derive(Debug, Clone, PartialEq)]
enum Atom {
    /// The window's own store.
    Store,
    /// To emit events, timers among them.
    Emit,
    /// To call a service.
    Send(Scope),
    /// A secret that the host adds there, and where its value is.
    Secret(Reach, String, Option<SecretSource>),
    /// The client certificate by which the host identifies itself there.
    Certificate(Reach, ClientCert),
    /// A certificate authority beside the system's: whoever has its key can pose as the service.
    Authority(Reach, PathBuf),
    /// A network beside the public internet in which the service may be.
    Private(Reach, IpNet),
    /// To call a window, and whether with the user of the request in hand.
    Call(String, bool),
    /// To read a secret, and where its value is.
    Reveal(String, Option<SecretSource>),
    /// To have events of a window delivered.
    Events(events::Delivered),
}

/// Requests to services.
#[derive(Debug, Clone, PartialEq)]
struct Scope {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
    method: Method,
    /// None: every path, also those that services read differently and no pattern matches.
    path: Option<Pattern>,
}

/// The requests that one entry decides.
#[derive(Debug, Clone, PartialEq)]
struct Reach {
    /// What it is for.
    scope: Scope,
    /// What of that earlier entries decide.
    without: Vec<Scope>,
}

/// What the imports of a release come to.
enum Interface {
    /// Outgoing HTTP, to services and to windows.
    Http,
    /// The window's store.
    Store,
    /// Transactions over the window's store, with events.
    Transactions,
    /// Configuration and secrets.
    Settings,
    /// Linked, with nothing behind it for any window.
    Nothing,
}

/// What a component with these `imports` can do, in the order of the file.
pub fn abilities(imports: &[String], granted: &WindowGrants) -> Vec<Ability> {
    let mut abilities = Vec::new();
    let [http, store, transactions, settings] = [
        Interface::Http,
        Interface::Store,
        Interface::Transactions,
        Interface::Settings,
    ]
    .map(|wanted| first(imports, &wanted));
    if let Some(import) = store.or(transactions) {
        abilities.push(Ability {
            import: import.to_owned(),
            may: "use its store".to_owned(),
            atoms: vec![Atom::Store],
        });
    }
    if let Some(import) = transactions {
        abilities.push(Ability {
            import: import.to_owned(),
            may: "emit events".to_owned(),
            atoms: vec![Atom::Emit],
        });
    }
    if let Some(import) = http {
        let grants = &granted.grants;
        // What no request reaches is not had: with the earlier entry gone, it would be gained.
        let mut earlier: Vec<Scope> = Vec::new();
        for grant in &grants.outbound {
            let all = scopes(grant);
            let reached = all.iter().filter_map(|scope| Reach::of(scope, &earlier));
            let atoms = atoms(grant, reached, &grants.secrets);
            if !atoms.is_empty() {
                abilities.push(Ability {
                    import: import.to_owned(),
                    may: format!("{} ({})", outbound(grant), granted.at(grant.line)),
                    atoms,
                });
            }
            earlier.extend(all);
        }
        let calls = grants.calls.iter().map(|grant| Ability {
            import: import.to_owned(),
            may: format!("{} ({})", call(grant), granted.at(grant.line)),
            atoms: vec![Atom::Call(grant.window.to_string(), !grant.as_self)],
        });
        abilities.extend(calls);
    }
    if let Some(import) = settings {
        let line = granted.at(granted.grants.lines.reveal);
        let reveal = granted.grants.reveal.iter().map(|name| Ability {
            import: import.to_owned(),
            may: format!("read secret {name} ({line})"),
            atoms: vec![Atom::Reveal(
                name.clone(),
                granted.grants.secrets.get(name).cloned(),
            )],
        });
        abilities.extend(reveal);
    }
    abilities.extend(events::abilities(granted));
    abilities
}

/// Those of `after` that go beyond all of `before`.
pub fn gained(before: &[Ability], after: &[Ability]) -> Vec<Ability> {
    let had: Vec<&Atom> = before.iter().flat_map(|ability| &ability.atoms).collect();
    let is_new = |atom: &Atom| {
        let had_alone = had.iter().any(|before| before.covers(atom, &had));
        !had_alone && !had_together(&had, atom)
    };
    let after = after.iter();
    let gained = after.filter(|ability| ability.atoms.iter().any(is_new));
    gained.cloned().collect()
}

/// Whether some release could do more with the grants `after` than with those `before`.
pub fn may_grow(before: &WindowGrants, after: &WindowGrants) -> bool {
    // One for each interface of which grants say more.
    let every = ["wasi:http/client", "wasi:config/store"].map(str::to_owned);
    !gained(&abilities(&every, before), &abilities(&every, after)).is_empty()
}

/// What an operator agrees to, as a sentence; none where nothing is gained: `release 8 imports
/// wasi:http/client: it may now POST https://api.card.example/v1/charges/** with secret card-key
/// (windows/payments.yaml:3)`.
pub fn sentence(release: u64, gained: &[Ability]) -> Option<String> {
    let mut imports: Vec<(&str, Vec<&str>)> = Vec::new();
    for ability in gained {
        match imports.iter_mut().find(|(name, _)| *name == ability.import) {
            Some((_, may)) => may.push(&ability.may),
            None => imports.push((&ability.import, vec![&ability.may])),
        }
    }
    let clauses = imports.iter().map(|(import, may)| {
        let may = may.join(", and ");
        match import.is_empty() {
            true => format!("it now {may}"),
            false => format!("release {release} imports {import}: it may now {may}"),
        }
    });
    let clauses: Vec<String> = clauses.collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

/// Secrets of the file that nothing in it uses, with the line of each.
pub fn unused_secrets(granted: &WindowGrants) -> Vec<(String, usize)> {
    let grants = &granted.grants;
    let used: BTreeSet<&String> = grants
        .outbound
        .iter()
        .flat_map(secrets)
        .chain(&grants.reveal)
        .collect();
    let unused = grants.secrets.keys().filter(|name| !used.contains(name));
    let line = |name: &String| grants.lines.secrets.get(name).copied().unwrap_or(1);
    unused.map(|name| (name.clone(), line(name))).collect()
}

/// Entries of `outbound` that no request reaches, because earlier ones allow all that they allow.
pub fn shadowed(granted: &WindowGrants) -> Vec<&OutboundGrant> {
    let entries = &granted.grants.outbound;
    let is_shadowed = |at: usize, entry: &OutboundGrant| {
        let earlier: Vec<Scope> = entries.iter().take(at).flat_map(scopes).collect();
        let mut scopes = scopes(entry).into_iter();
        scopes.all(|scope| earlier.iter().any(|other| other.covers(&scope)))
    };
    let entries = entries.iter().enumerate();
    let shadowed = entries.filter(|(at, entry)| is_shadowed(*at, entry));
    shadowed.map(|(_, entry)| entry).collect()
}

/// Whether several of `had`, none of which does, come to `atom` together: networks that are parts
/// of one.
fn had_together(had: &[&Atom], atom: &Atom) -> bool {
    let Atom::Private(reach, network) = atom else {
        return false;
    };
    let networks = had.iter().filter_map(|before| match before {
        Atom::Private(ours, network) if ours.covers(reach, |_| false) => Some(*network),
        _ => None,
    });
    let joined = IpNet::aggregate(&networks.collect());
    joined.iter().any(|had| had.contains(network))
}

impl Atom {
    /// Whether whoever has this, as one of `had`, has `other` as well.
    fn covers(&self, other: &Atom, had: &[&Atom]) -> bool {
        // The same by an earlier entry, for requests that it decides.
        let elsewhere = |decided: &Scope| {
            let is_it = |earlier: &&Atom| {
                earlier.says_as_much_as(other)
                    && earlier.reach().is_some_and(|ours| ours.has_all(decided))
            };
            had.iter().any(is_it)
        };
        match (self, other) {
            (Atom::Send(ours), Atom::Send(theirs)) => ours.covers(theirs),
            (Atom::Call(window, as_user), Atom::Call(other, other_as_user)) => {
                window == other && *as_user >= *other_as_user
            }
            (Atom::Events(ours), Atom::Events(theirs)) => ours.covers(theirs),
            (ours, theirs) => match (ours.reach(), theirs.reach()) {
                (Some(our_reach), Some(their_reach)) => {
                    ours.says_as_much_as(theirs) && our_reach.covers(their_reach, elsewhere)
                }
                _ => ours == theirs,
            },
        }
    }

    /// For which requests it is, of one that comes with an entry.
    fn reach(&self) -> Option<&Reach> {
        match self {
            Atom::Secret(reach, ..)
            | Atom::Certificate(reach, _)
            | Atom::Authority(reach, _)
            | Atom::Private(reach, _) => Some(reach),
            _ => None,
        }
    }

    /// Whether this gives all that `other` gives, of two that come with entries, for whatever
    /// requests.
    fn says_as_much_as(&self, other: &Atom) -> bool {
        match (self, other) {
            (Atom::Secret(_, name, source), Atom::Secret(_, other, other_source)) => {
                name == other && source == other_source
            }
            (Atom::Certificate(_, files), Atom::Certificate(_, other)) => files == other,
            (Atom::Authority(_, file), Atom::Authority(_, other)) => file == other,
            (Atom::Private(_, network), Atom::Private(_, other)) => network.contains(other),
            _ => false,
        }
    }
}

impl Reach {
    /// What an entry for `scope` decides behind those for `earlier`; none where that is nothing.
    fn of(scope: &Scope, earlier: &[Scope]) -> Option<Reach> {
        let is_hidden = earlier.iter().any(|other| other.covers(scope));
        let without = earlier.iter().filter_map(|other| other.common(scope));
        (!is_hidden).then(|| Reach {
            scope: scope.clone(),
            without: without.collect(),
        })
    }

    /// Whether each request of `other` is one of this, or one of those for which `elsewhere` knows
    /// that the same is had by an earlier entry.
    fn covers(&self, other: &Reach, elsewhere: impl Fn(&Scope) -> bool) -> bool {
        let mut lacking = self
            .without
            .iter()
            .filter_map(|decided| decided.common(&other.scope));
        let is_had = |decided: Scope| {
            let mut not_theirs = other.without.iter();
            not_theirs.any(|theirs| theirs.covers(&decided)) || elsewhere(&decided)
        };
        self.scope.covers(&other.scope) && lacking.all(is_had)
    }

    /// Whether it decides every request of `scope`.
    fn has_all(&self, scope: &Scope) -> bool {
        let mut without = self.without.iter();
        self.scope.covers(scope) && without.all(|decided| decided.common(scope).is_none())
    }
}

impl Scope {
    fn covers(&self, other: &Scope) -> bool {
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours.covers(theirs),
        };
        self.is_like(other) && covers(&self.host, &other.host) && path
    }

    /// The requests of both; none where there are none.
    fn common(&self, other: &Scope) -> Option<Scope> {
        if !self.is_like(other) {
            return None;
        }
        let host = match covers(&self.host, &other.host) {
            true => &other.host,
            false => Some(&self.host).filter(|host| covers(&other.host, host))?,
        };
        let path = match (&self.path, &other.path) {
            (None, path) | (path, None) => path.clone(),
            (Some(ours), Some(theirs)) => Some(ours.common(theirs)?),
        };
        Some(Scope {
            host: host.clone(),
            path,
            ..self.clone()
        })
    }

    /// Whether they differ in host and path alone.
    fn is_like(&self, other: &Scope) -> bool {
        self.scheme == other.scheme && self.port == other.port && self.method == other.method
    }
}

/// Whether each of `theirs` is one of `ours`. Else one covers the other, or they have none in
/// common.
fn covers(ours: &HostPattern, theirs: &HostPattern) -> bool {
    match (ours, theirs) {
        (HostPattern::Below(above), HostPattern::Below(below)) => {
            above == below || ours.matches(below)
        }
        (ours, HostPattern::Exact(name)) => ours.matches(name),
        (HostPattern::Exact(_), HostPattern::Below(_)) => false,
    }
}

fn bare(import: &str) -> &str {
    import.split('@').next().unwrap_or(import)
}

fn interface(import: &str) -> Option<Interface> {
    Some(match import.split_once('/')? {
        ("wasi:http", "client" | "outgoing-handler") => Interface::Http,
        ("wasi:keyvalue" | "spin:key-value", _) | ("fermyon:spin", "key-value") => Interface::Store,
        ("hms:store", _) => Interface::Transactions,
        ("wasi:config" | "spin:variables" | "wasmcloud:secrets", _)
        | ("fermyon:spin", "variables") => Interface::Settings,
        ("wasi:sockets" | "wasi:filesystem", _) => Interface::Nothing,
        _ => return None,
    })
}

/// The first of `imports` that is `wanted`.
fn first<'a>(imports: &'a [String], wanted: &Interface) -> Option<&'a str> {
    let is_it = |found: Interface| std::mem::discriminant(&found) == std::mem::discriminant(wanted);
    let mut imports = imports.iter().map(|import| bare(import));
    imports.find(|import| interface(import).is_some_and(is_it))
}

/// Its paths; none: every path. One that cannot be read lets nothing pass.
fn paths(grant: &OutboundGrant) -> Vec<Option<Pattern>> {
    match grant.paths.is_empty() {
        true => vec![None],
        false => {
            let paths = grant.paths.iter();
            paths
                .filter_map(|path| Pattern::parse(path).ok())
                .map(Some)
                .collect()
        }
    }
}

fn methods(grant: &OutboundGrant) -> Vec<Method> {
    match grant.methods.is_empty() {
        true => vec![Method::GET, Method::HEAD],
        false => grant.methods.clone(),
    }
}

/// The secrets that the host adds to requests of this grant.
fn secrets(grant: &OutboundGrant) -> impl Iterator<Item = &String> {
    let parts = grant.inject.iter().flat_map(|inject| &inject.parts);
    let injected = parts.filter_map(|part| match part {
        TemplatePart::Secret(name) => Some(name),
        TemplatePart::Text(_) => None,
    });
    injected.chain(&grant.placeholders)
}

/// The requests of a grant: one scope for each method and path.
fn scopes(grant: &OutboundGrant) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for method in methods(grant) {
        let paths = paths(grant).into_iter();
        scopes.extend(paths.map(|path| Scope {
            scheme: grant.scheme.clone(),
            host: grant.host.clone(),
            port: grant.port,
            method: method.clone(),
            path,
        }));
    }
    scopes
}

/// What comes with an entry, for the requests that `reached` it.
fn atoms(
    grant: &OutboundGrant,
    reached: impl Iterator<Item = Reach>,
    sources: &BTreeMap<String, SecretSource>,
) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for reach in reached {
        let secrets = secrets(grant).map(|name| {
            let source = sources.get(name).cloned();
            Atom::Secret(reach.clone(), name.clone(), source)
        });
        let private = grant.private.iter();
        let private = private.map(|network| Atom::Private(reach.clone(), *network));
        let certificate = grant.client_cert.iter();
        let certificate = certificate.map(|c| Atom::Certificate(reach.clone(), c.clone()));
        let authority = grant.ca.iter();
        let authority = authority.map(|ca| Atom::Authority(reach.clone(), ca.clone()));
        atoms.extend(secrets.chain(private).chain(certificate).chain(authority));
        atoms.push(Atom::Send(reach.scope));
    }
    atoms
}

#[cfg(test)]
mod tests;
