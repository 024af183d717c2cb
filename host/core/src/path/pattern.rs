//! The paths that a route or a grant matches.

use super::normalise;
use std::fmt;

/// Bytes of a pattern.
const MAX_PATTERN: usize = 1024;

/// Segments of a pattern: a lookup takes at most this many steps.
pub const MAX_SEGMENTS: usize = 32;

/// `/a/b` matches only this path; `/a/{id}` matches one more segment, whatever it is; `/a/b/**`
/// matches `/a/b` and everything below it, on segment borders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Whether it ends in `/**`.
    below: bool,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This literal. Empty only as the last segment of a path that ends with a slash.
    Literal(String),
    /// `{name}`: any segment that is not empty.
    Any(String),
}

impl Pattern {
    /// Parses a manifest's `uri`, which is normalised like request paths ([`normalise`]).
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
                "'{text}': '**' may only be the last segment, as in '/api/v1/payments/**'; for one segment write '{{name}}'"
            ));
        }
        if path.contains(['?', '#']) {
            return Err(format!("'{text}' must be a path, without '?' or '#'"));
        }
        if path.is_empty() && below {
            return Ok(Pattern {
                segments: Vec::new(),
                below,
            });
        }
        let (plain, names) = placeholders(path).map_err(|reason| format!("'{text}': {reason}"))?;
        let plain = normalise(&plain).map_err(|reason| format!("'{text}': {reason}"))?;
        if below && plain.ends_with('/') {
            return Err(format!("'{text}': the path has an empty segment ('//')"));
        }
        let segments: Vec<Segment> = segments_of(&plain)
            .zip(names)
            .map(|(literal, name)| match name {
                Some(name) => Segment::Any(name),
                None => Segment::Literal(literal.to_string()),
            })
            .collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(format!("it has more than {MAX_SEGMENTS} segments"));
        }
        Ok(Pattern { segments, below })
    }

    /// Without the `**` at the end.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it ends in `/**` and so also matches every path below.
    pub fn is_below(&self) -> bool {
        self.below
    }

    /// Whether it contains a `{name}`.
    pub fn has_names(&self) -> bool {
        let is_any = |segment: &Segment| matches!(segment, Segment::Any(_));
        self.segments.iter().any(is_any)
    }

    /// The prefix that all its paths share: up to the first `{name}`, without a trailing slash
    /// unless an exact path ends in one.
    pub fn base(&self) -> String {
        let mut base = String::new();
        for segment in &self.segments {
            let Segment::Literal(literal) = segment else {
                break;
            };
            base.push('/');
            base.push_str(literal);
        }
        base
    }

    /// The pattern without the names in it: two of the same shape match the same paths.
    pub fn shape(&self) -> String {
        self.write(|_| "{}".into())
    }

    fn write(&self, any: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            text.push('/');
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Any(name) => text.push_str(&any(name)),
            }
        }
        if self.below {
            text.push_str("/**");
        }
        text
    }

    /// Whether every path that `other` matches is one that this matches.
    pub fn covers(&self, other: &Pattern) -> bool {
        let mut theirs = other.segments.iter();
        for segment in &self.segments {
            let covers = match (segment, theirs.next()) {
                // What is below `other` may have fewer segments.
                (_, None) => false,
                (Segment::Literal(ours), Some(Segment::Literal(theirs))) => ours == theirs,
                (Segment::Literal(_), Some(Segment::Any(_))) => false,
                (Segment::Any(_), Some(Segment::Literal(theirs))) => !theirs.is_empty(),
                (Segment::Any(_), Some(Segment::Any(_))) => true,
            };
            if !covers {
                return false;
            }
        }
        self.below || (theirs.next().is_none() && !other.below)
    }

    /// The pattern of the paths that both match; none where no path is.
    pub fn common(&self, other: &Pattern) -> Option<Pattern> {
        let (longer, shorter) = match self.segments.len() >= other.segments.len() {
            true => (self, other),
            false => (other, self),
        };
        let mut theirs = shorter.segments.iter();
        let mut segments = Vec::with_capacity(longer.segments.len());
        for ours in &longer.segments {
            let both = match (ours, theirs.next()) {
                (ours, None) if shorter.below => ours,
                (Segment::Literal(one), Some(Segment::Literal(other))) if one == other => ours,
                (Segment::Any(_), Some(Segment::Any(_))) => ours,
                (Segment::Any(_), Some(literal @ Segment::Literal(text)))
                | (literal @ Segment::Literal(text), Some(Segment::Any(_)))
                    if !text.is_empty() =>
                {
                    literal
                }
                _ => return None,
            };
            segments.push(both.clone());
        }
        let is_longer = longer.segments.len() > shorter.segments.len();
        let below = longer.below && (is_longer || shorter.below);
        Some(Pattern { segments, below })
    }

    /// Whether `path` matches. The route table finds the same by lookup; this is the definition.
    pub fn matches(&self, path: &str) -> bool {
        let mut given = segments_of(path);
        for segment in &self.segments {
            let fits = match (segment, given.next()) {
                (_, None) => false,
                (Segment::Literal(literal), Some(given)) => literal == given,
                (Segment::Any(_), Some(given)) => !given.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        path.starts_with('/') && (self.below || given.next().is_none())
    }
}

/// The segments of a normalised path; `/` has one, which is empty.
pub fn segments_of(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// The path with a literal segment for each `{name}`, and for each segment its name, if it has one.
fn placeholders(path: &str) -> Result<(String, Vec<Option<String>>), String> {
    let (mut plain, mut names) = (Vec::new(), Vec::new());
    for segment in path.split('/') {
        let inner = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(name) = inner else {
            if segment.contains(['{', '}']) {
                return Err("a '{name}' must be a whole segment, as in '/users/{id}'".into());
            }
            plain.push(segment);
            names.push(None);
            continue;
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !is_name {
            return Err(format!(
                "'{{{name}}}' is not a valid name: use letters, digits, '_' and '-', not first a \
                 digit or '-'"
            ));
        }
        if names.iter().flatten().any(|other| other == name) {
            return Err(format!("the name '{{{name}}}' is duplicated"));
        }
        plain.push("x");
        names.push(Some(name.to_string()));
    }
    // What precedes the first slash is not a segment.
    if !names.is_empty() && path.starts_with('/') {
        names.remove(0);
    }
    Ok((plain.join("/"), names))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(|name| format!("{{{name}}}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn pattern_covers_what_it_matches_more_of() {
        for (ours, theirs, covers) in [
            ("/a/{id}", "/a/x", true),
            ("/a/{id}", "/a/{name}", true),
            ("/a/x", "/a/{id}", false),
            ("/a/{id}", "/a/", false),
            ("/a/{id}", "/a/x/y", false),
            ("/a/{id}", "/a/**", false),
            ("/a/{id}/**", "/a/x/y", true),
            ("/a/{id}/**", "/a/x/**", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/ab", false),
            ("/a/b/**", "/a/**", false),
            ("/**", "/a/{id}/**", true),
            ("/**", "/", true),
            ("/a/%7Ex", "/a/~x", true),
        ] {
            let found = pattern(ours).covers(&pattern(theirs));
            assert_eq!(found, covers, "{ours} {theirs}");
        }
    }

    proptest! {
        /// Whoever is covered matches no path that the other does not.
        #[test]
        fn covered_pattern_matches_no_other_path(
            ours in "(/(a|b|\\{x\\})){0,3}(/\\*\\*|/)?",
            theirs in "(/(a|b|\\{x\\})){0,3}(/\\*\\*|/)?",
            path in "(/[abc]?){1,4}",
        ) {
            let (Ok(ours), Ok(theirs)) = (Pattern::parse(&ours), Pattern::parse(&theirs)) else {
                return Ok(());
            };
            if ours.covers(&theirs) && theirs.matches(&path) {
                prop_assert!(ours.matches(&path), "{ours} {theirs} {path}");
            }
        }

        /// What two have in common matches the paths that both do, and no other.
        #[test]
        fn common_pattern_matches_what_both_do(
            ours in "(/(a|b|\\{x\\})){0,3}(/\\*\\*|/)?",
            theirs in "(/(a|b|\\{y\\})){0,3}(/\\*\\*|/)?",
            path in "(/[abc]?){1,4}",
        ) {
            let (Ok(ours), Ok(theirs)) = (Pattern::parse(&ours), Pattern::parse(&theirs)) else {
                return Ok(());
            };
            let common = ours.common(&theirs);
            let is_common = common.is_some_and(|common| common.matches(&path));
            let both = ours.matches(&path) && theirs.matches(&path);
            prop_assert_eq!(is_common, both, "{} {} {}", ours, theirs, path);
        }
    }
}
