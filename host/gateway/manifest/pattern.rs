//! Which paths a route takes.

use crate::gateway::target::normalise;
use std::fmt;

/// Bytes of a pattern.
const MAX_PATTERN: usize = 1024;

/// Segments of a pattern: the lookup takes at most this many steps.
pub const MAX_SEGMENTS: usize = 32;

/// `/a/b` takes this path alone; `/a/b/**` takes `/a/b` and everything below it, on segment borders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This path and no other: `/a/b/` is another one.
    Exact(String),
    /// The base without a slash at its end: empty for `/**`.
    Below(String),
}

impl Pattern {
    /// Reads a manifest's `uri`. It has the same one form as request paths
    /// ([`normalise`]).
    pub fn parse(text: &str) -> Result<Pattern, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("it is longer than {MAX_PATTERN} bytes"));
        }
        let (path, below) = match text.strip_suffix("/**") {
            Some(base) => (base, true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(format!(
                "'{text}': '**' may only be the last segment, as in '/api/v1/payments/**'; there are no other wildcards"
            ));
        }
        if path.contains(['{', '}', '?', '#']) {
            return Err(format!(
                "'{text}' is to be a path, without '{{', '}}', '?' or '#'"
            ));
        }
        if path.is_empty() && below {
            return Ok(Pattern::Below(String::new()));
        }
        let path = normalise(path).map_err(|reason| format!("'{text}': {reason}"))?;
        if path.split('/').count() > MAX_SEGMENTS + 1 {
            return Err(format!("it has more than {MAX_SEGMENTS} segments"));
        }
        match (below, path.ends_with('/')) {
            (true, true) => Err(format!("'{text}': the path has an empty segment ('//')")),
            (true, false) => Ok(Pattern::Below(path)),
            (false, _) => Ok(Pattern::Exact(path)),
        }
    }

    /// The path, or the base of the paths.
    pub fn base(&self) -> &str {
        match self {
            Pattern::Exact(path) => path,
            Pattern::Below(base) => base,
        }
    }

    /// Whether `path` is one of these. The route table finds the same by lookup; this is the definition.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Pattern::Exact(exact) => path == exact,
            Pattern::Below(base) => path
                .strip_prefix(base.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(path) => f.write_str(path),
            Pattern::Below(base) => write!(f, "{base}/**"),
        }
    }
}
