//! The prefix that is cut off the path before the upstream sees it.

use hms_core::path::Pattern;
use hms_manifest::{Node, Tree};

/// The prefix to strip, without a trailing slash. By default the `/api/vN` that `uri` begins with.
pub(super) fn choose(uri: &Pattern, choice: Option<&Node<'_>>) -> Option<String> {
    let base = uri.base();
    let Some(node) = choice else {
        return Some(version_prefix(&base).to_string());
    };
    match node.tree() {
        Tree::Flag(false) => Some(String::new()),
        // States the default explicitly.
        Tree::Flag(true) => Some(version_prefix(&base).to_string()),
        Tree::Text(text) => {
            let prefix = text.strip_suffix('/').unwrap_or(text);
            let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
            match base.strip_prefix(prefix) {
                Some(rest) if below(rest) => Some(prefix.to_string()),
                _ => {
                    node.fault(format_args!("'{text}' is not a prefix of uri '{uri}'"));
                    None
                }
            }
        }
        other => {
            node.fault(format_args!(
                "{} is not a prefix of 'uri', or false",
                other.describe()
            ));
            None
        }
    }
}

/// `/api/v1` of `/api/v1/payments`, or empty.
fn version_prefix(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/api/v") else {
        return "";
    };
    let version = rest.split('/').next().unwrap_or_default();
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return "";
    }
    path.get(.."/api/v".len() + version.len())
        .unwrap_or_default()
}
