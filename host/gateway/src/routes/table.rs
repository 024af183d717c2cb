//! The route table: immutable. Lookup time does not depend on the number of routes.
//!
//! The most specific route matches: first by host (an exact name, then the longest suffix, then
//! any), then by path, segment by segment (a literal, then `{name}`, then `/**`), then by method
//! (named, then any). If nothing matches under the host, the next less specific host is tried.

use super::ActiveRoute;
use crate::routes::manifest::HostPattern;
use hms_core::path::{MAX_SEGMENTS, Pattern, Segment, segments_of};
use http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// Segments of a path that are compared; no pattern has more.
const LOOKED_AT: usize = MAX_SEGMENTS + 1;

/// One snapshot of all live routes.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Node>,
    below: HashMap<String, Node>,
    any: Node,
}

/// The routes whose paths share a prefix.
#[derive(Debug, Default)]
struct Node {
    literal: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Routes of exactly this path.
    here: Vec<Arc<ActiveRoute>>,
    /// Routes of this path and everything below it.
    below: Vec<Arc<ActiveRoute>>,
}

/// The result of a lookup.
#[derive(Debug)]
pub enum RouteMatch<'a> {
    /// The most specific route that matches.
    Route(&'a Arc<ActiveRoute>),
    /// Routes match the path, the most specific first, but none has the method.
    OtherMethods(Vec<&'a Arc<ActiveRoute>>),
    /// No route has this path.
    Nothing,
}

impl Table {
    /// Two routes must not have the same claim; if they do, either may be found.
    pub fn new(routes: impl IntoIterator<Item = Arc<ActiveRoute>>) -> Table {
        let mut table = Table::default();
        for route in routes {
            if route.hosts.is_empty() {
                table.any.add(&route);
            }
            for host in &route.hosts {
                let nodes = match host {
                    HostPattern::Exact(name) => table.exact.entry(name.clone()),
                    HostPattern::Below(name) => table.below.entry(name.clone()),
                };
                nodes.or_default().add(&route);
            }
        }
        table
    }

    /// `host` is folded ([`crate::routes::manifest::fold`]) and has no port; `path` is normalised.
    pub fn find(&self, host: Option<&str>, method: &Method, path: &str) -> RouteMatch<'_> {
        if !path.starts_with('/') {
            return RouteMatch::Nothing;
        }
        let mut buffer = [""; LOOKED_AT];
        let mut count = 0;
        for (place, segment) in buffer.iter_mut().zip(segments_of(path)) {
            *place = segment;
            count += 1;
        }
        let segments = buffer.get(..count).unwrap_or_default();
        let mut others = Vec::new();
        let found = host
            .and_then(|host| self.find_under(host, segments, method, &mut others))
            .or_else(|| self.any.find(segments, method, &mut others));
        if let Some(route) = found {
            return RouteMatch::Route(route);
        }
        if others.is_empty() {
            return RouteMatch::Nothing;
        }
        RouteMatch::OtherMethods(others)
    }

    /// Under the exact host, then under its suffixes, the longest first.
    fn find_under<'a>(
        &'a self,
        host: &str,
        segments: &[&str],
        method: &Method,
        others: &mut Vec<&'a Arc<ActiveRoute>>,
    ) -> Option<&'a Arc<ActiveRoute>> {
        let exact = self.exact.get(host);
        if let Some(route) = exact.and_then(|node| node.find(segments, method, others)) {
            return Some(route);
        }
        let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
        let mut below = dots.filter_map(|(at, _)| self.below.get(host.get(at + 1..)?));
        below.find_map(|node| node.find(segments, method, others))
    }
}

impl Node {
    fn add(&mut self, route: &Arc<ActiveRoute>) {
        let pattern: &Pattern = &route.uri;
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(literal) => node.literal.entry(literal.clone()).or_default(),
                Segment::Any(_) => node.any.get_or_insert_default(),
            };
        }
        if pattern.is_below() {
            node.below.push(route.clone());
        } else {
            node.here.push(route.clone());
        }
    }

    fn find<'a>(
        &'a self,
        segments: &[&str],
        method: &Method,
        others: &mut Vec<&'a Arc<ActiveRoute>>,
    ) -> Option<&'a Arc<ActiveRoute>> {
        let inner = match segments.split_first() {
            None => pick(&self.here, method, others),
            Some((first, rest)) => {
                let literal = self.literal.get(*first);
                let any = self.any.as_deref().filter(|_| !first.is_empty());
                literal
                    .and_then(|node| node.find(rest, method, others))
                    .or_else(|| any.and_then(|node| node.find(rest, method, others)))
            }
        };
        inner.or_else(|| pick(&self.below, method, others))
    }
}

/// The route for the method: one that names it, then one that accepts it as part of GET, then one
/// for any method.
fn pick<'a>(
    routes: &'a [Arc<ActiveRoute>],
    method: &Method,
    others: &mut Vec<&'a Arc<ActiveRoute>>,
) -> Option<&'a Arc<ActiveRoute>> {
    let found = routes
        .iter()
        .find(|route| route.methods.contains(method))
        .or_else(|| {
            let named = |route: &&Arc<ActiveRoute>| !route.methods.is_empty();
            routes
                .iter()
                .find(|route| named(route) && route.takes(method))
        })
        .or_else(|| routes.iter().find(|route| route.methods.is_empty()));
    if found.is_none() {
        others.extend(routes);
    }
    found
}
