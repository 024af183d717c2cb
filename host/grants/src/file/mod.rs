//! The file `windows/NAME.yaml`: its text becomes [`Grants`], or the faults that say where and why.
//!
//! [`FIELDS`] says what a file holds, and [`schema`] makes a JSON Schema of it. `outbound` and
//! `template` read the entries about services, `secrets` where values come from, and `limits` the
//! limits of the window by the names of `hms limits`. `subscriptions`, with `filters`, and
//! `schedules` read what is said of events; `names` is what both have in common.

mod filters;
mod limits;
mod names;
mod outbound;
mod schedules;
mod secrets;
mod subscriptions;
mod template;

use crate::{CallGrant, Grants, Lines, NamedFile};
use hms_core::window_name::WindowName;
use hms_manifest::{Fault, Field, Kind, Manifest, Map, Node, Tree, Words, object, read_document};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Entries of one list or mapping: far more than a window needs, and quickly searched.
const MAX_ENTRIES: usize = 256;

/// Bytes of one value of `config` or `env`: a certificate fits.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// What a grants file holds.
pub(crate) const FIELDS: &[Field] = &[
    Field {
        name: "outbound",
        kind: Kind::Own(outbound::schema),
        doc: "The services that the window may call over HTTP. The first entry that fits a request decides. Default: none.",
    },
    Field {
        name: "calls",
        kind: Kind::Own(calls_schema),
        doc: "The windows that this one may call, as http://hms-svc-NAME. Default: none.",
    },
    Field {
        name: "internal",
        kind: Kind::Flag,
        doc: "Whether only other windows may call this one, and no route. Default: false.",
    },
    Field {
        name: "config",
        kind: Kind::TextMap("{currency: EUR}"),
        doc: "Configuration that the window reads through wasi:config or Spin's variables.",
    },
    Field {
        name: "secrets",
        kind: Kind::Own(secrets::schema),
        doc: "Secrets, by name: {file: PATH}, relative to this folder, of mode 0400 or 0600, or {credential: NAME} from $CREDENTIALS_DIRECTORY.",
    },
    Field {
        name: "reveal",
        kind: Kind::Texts(MAX_ENTRIES, "[smtp-password]"),
        doc: "Secrets whose values the window itself may read. Default: none; the host uses the others on its behalf.",
    },
    Field {
        name: "env",
        kind: Kind::TextMap("{LOG_LEVEL: info}"),
        doc: "Environment variables of the window.",
    },
    Field {
        name: "subscriptions",
        kind: Kind::Own(subscriptions::schema),
        doc: "The events that the window wants, by name: {paid: {from: [payments], to: /events}}. Default: none.",
    },
    Field {
        name: "schedules",
        kind: Kind::Own(schedules::schema),
        doc: "What the window is asked to do at certain times, by name: {nightly: {cron: \"0 2 * * *\", to: /jobs/nightly}}. Default: none.",
    },
    Field {
        name: "limits",
        kind: Kind::Own(limits::schema),
        doc: "Limits of the window by the names of 'hms limits', without dashes: {memory: 64MiB}.",
    },
];

/// One grants file, checked.
#[derive(Debug, PartialEq)]
pub struct GrantsFile {
    /// The window that it is for, which the file's name says.
    pub window: WindowName,
    /// What it grants.
    pub grants: Grants,
    /// The files that it names, be they of secrets or of certificates.
    pub named: Vec<NamedFile>,
    /// SHA-256 of the text, in hexadecimal.
    pub digest: String,
    text: String,
}

/// The fields of a grants file.
pub fn fields() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.name)
}

/// A JSON Schema of grants files, for editors.
pub fn schema() -> Value {
    let mut schema = object(FIELDS, &[]);
    if let Some(schema) = schema.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".into(), json!(draft));
        schema.insert("title".into(), json!("What a window of HMS-SVC is granted"));
        let definitions = json!({ "filter": filters::definition() });
        schema.insert("$defs".into(), definitions);
    }
    schema
}

impl Manifest for GrantsFile {
    const WORDS: Words = Words {
        one: "grants file",
        many: "grants",
        folder: "grants folder",
        request: "GET /grants",
        command: "hms grants",
    };

    const FOLDER_IS_OPTIONAL: bool = true;

    /// `payments.yaml` and `payments.yml` are for the same window.
    type Claim = WindowName;

    fn parse(name: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let window: WindowName = match name.parse() {
            Ok(window) => window,
            Err(reason) => {
                let reason = format!("the file's name says whose grants these are: {reason}");
                return Err(vec![Fault::whole(reason)]);
            }
        };
        let (grants, named) =
            read_document(text, Self::WORDS.one, |node| read(&window, text, node))?;
        Ok(GrantsFile {
            window,
            grants,
            named,
            digest: digest(text),
            text: text.to_owned(),
        })
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn claims(&self) -> Vec<WindowName> {
        vec![self.window.clone()]
    }

    fn log_live(&self, file: &str) {
        tracing::info!(file, window = %self.window, digest = %self.digest, "grants live");
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(window: &WindowName, text: &str, node: &Node<'_>) -> Option<(Grants, Vec<NamedFile>)> {
    let expected = "grants: outbound, calls, internal, config, secrets, reveal, env, \
                    subscriptions, schedules, limits";
    let map = node.map(FIELDS, expected)?;
    let mut named = Vec::new();
    let secrets = map.get("secrets");
    let secrets = secrets.map(|node| secrets::read(text, node, &mut named));
    let (secrets, secret_lines) = secrets.unwrap_or_default();
    let declared = |name: &str| match secrets.contains_key(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "there is no secret '{name}': add it to 'secrets', as in 'secrets: {{{name}: {{file: secrets/{name}}}}}'"
        )),
    };
    let services = map.get("outbound");
    let outbound = services.map(|node| outbound::read(text, node, &declared, &mut named));
    let outbound = outbound.unwrap_or_default();
    // Where an entry has a fault, what it would allow is not known.
    let written = services.map_or(0, |node| match node.tree() {
        Tree::List(entries) => entries.len(),
        _ => usize::MAX,
    });
    let known = (written == outbound.len()).then_some(&outbound[..]);
    let subscriptions = map.get("subscriptions");
    let subscriptions = subscriptions.map(|node| subscriptions::read(text, node, known));
    let schedules = map.get("schedules");
    let schedules = schedules.map(|node| schedules::read(text, node));
    let calls = map.get("calls").map(|node| calls(window, text, node));
    let config = texts(&map, "config", config_name);
    let env = texts(&map, "env", env_name);
    if let (Some(config), Some(node)) = (&config, map.get("config")) {
        for name in secrets.keys().filter(|name| config.contains_key(*name)) {
            node.fault(format_args!(
                "'{name}' is in 'secrets' as well: a name is one or the other"
            ));
        }
    }
    let limits = map.get("limits").map(|node| limits::read(text, node));
    let (limits, limit_lines) = limits.unwrap_or_default();
    let grants = Grants {
        lines: Lines {
            limits: limit_lines,
            secrets: secret_lines,
            reveal: map.get("reveal").map_or(1, |node| node.line(text)),
        },
        outbound,
        calls: calls.unwrap_or_default(),
        internal: map.flag("internal").unwrap_or(false),
        config: config.unwrap_or_default(),
        reveal: map
            .each("reveal", declared)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        env: env.unwrap_or_default(),
        subscriptions: subscriptions.unwrap_or_default(),
        schedules: schedules.unwrap_or_default(),
        limits,
        secrets,
    };
    Some((grants, named))
}

/// A file that `node` names.
fn named(text: &str, node: &Node<'_>, path: &Path) -> NamedFile {
    let (line, column) = node.place(text);
    NamedFile {
        path: path.to_owned(),
        line,
        column,
    }
}

/// A mapping of names to texts, bounded.
fn texts(
    map: &Map<'_>,
    field: &str,
    check: fn(&str) -> Result<(), String>,
) -> Option<BTreeMap<String, String>> {
    let pairs = map.pairs(field, |name, value| {
        check(name)?;
        match value.len() {
            0..=MAX_VALUE_BYTES if !value.contains('\0') => Ok((name.to_owned(), value.to_owned())),
            0..=MAX_VALUE_BYTES => Err("a value has no NUL character".to_owned()),
            _ => Err(format!("a value has at most {MAX_VALUE_BYTES} bytes")),
        }
    })?;
    let node = map.get(field)?;
    if pairs.len() > MAX_ENTRIES {
        node.fault(format_args!("more than {MAX_ENTRIES} entries"));
        return None;
    }
    let mut texts = BTreeMap::new();
    for (name, value) in pairs {
        if texts.contains_key(&name) {
            node.fault(format_args!("'{name}' is duplicated"));
        }
        texts.insert(name, value);
    }
    Some(texts)
}

fn config_name(name: &str) -> Result<(), String> {
    let fits = (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then_some(()).ok_or_else(|| {
        format!(
            "'{}' is not a name: 1 to 128 bytes without control characters",
            name.escape_debug()
        )
    })
}

fn env_name(name: &str) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = (1..=128).contains(&name.len())
        && name.chars().all(letter)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    fits.then_some(()).ok_or_else(|| {
        format!(
            "'{}' is not the name of an environment variable: letters, digits and '_', not first a digit",
            name.escape_debug()
        )
    })
}

const CALL: &[Field] = &[
    Field {
        name: "window",
        kind: Kind::Text("docs"),
        doc: "The window that may be called.",
    },
    Field {
        name: "as",
        kind: Kind::Choice(&["user", "self"]),
        doc: "Whether the call carries the user and scopes of the request in hand, or only the calling window's name. Default: user.",
    },
];

fn calls_schema() -> Value {
    json!({
        "type": "array",
        "items": { "anyOf": [{ "type": "string" }, object(CALL, &["window"])] },
        "maxItems": MAX_ENTRIES,
    })
}

fn calls(caller: &WindowName, text: &str, node: &Node<'_>) -> Vec<CallGrant> {
    let Some(items) = node.list("a list of windows, as in 'calls: [docs, notifications]'") else {
        return Vec::new();
    };
    if items.len() > MAX_ENTRIES {
        node.fault(format_args!("more than {MAX_ENTRIES} windows"));
        return Vec::new();
    }
    let mut calls: Vec<CallGrant> = Vec::new();
    for item in items {
        let Some(call) = call(text, &item) else {
            continue;
        };
        if call.window == *caller {
            item.fault("a window cannot call itself");
        }
        if calls.iter().any(|other| other.window == call.window) {
            item.fault(format_args!("the window '{}' is duplicated", call.window));
        }
        calls.push(call);
    }
    calls
}

fn call(text: &str, item: &Node<'_>) -> Option<CallGrant> {
    let name = |text: &str| text.parse::<WindowName>();
    let line = item.line(text);
    if let Tree::Text(window) = item.tree() {
        let window = name(window).map_err(|reason| item.fault(reason)).ok()?;
        return Some(CallGrant {
            window,
            as_self: false,
            line,
        });
    }
    let map = item.map(CALL, "the name of a window, or {window: NAME, as: self}")?;
    map.require("window")?;
    let as_self = map.choice("as") == Some("self");
    let window = map.parsed("window", name)?;
    Some(CallGrant {
        window,
        as_self,
        line,
    })
}

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod tests;
