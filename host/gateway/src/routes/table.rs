//! The route table: immutable, and its lookup does not grow with the number of routes.
//!
//! The most specific route has a request: first by host (a whole name, then below the longest name,
//! then any), then by path, segment for segment (a literal, then `{name}`, then `/**`), then by
//! method (named, then any). A request that finds nothing under its host is looked for under the
//! next.

use super::ActiveRoute;
use crate::routes::manifest::{HostPattern, MAX_SEGMENTS, Pattern, Segment, segments_of};
use http::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// Of a path no more segments are looked at: no pattern has as many.
const LOOKED_AT: usize = MAX_SEGMENTS + 1;

/// One snapshot of all live routes.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Node>,
    below: HashMap<String, Node>,
    any: Node,
}

/// The routes that share a beginning of their paths.
#[derive(Debug, Default)]
struct Node {
    literal: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Routes of this very path.
    here: Vec<Arc<ActiveRoute>>,
    /// Routes of this path and everything below.
    below: Vec<Arc<ActiveRoute>>,
}

/// What the table says about a request.
#[derive(Debug)]
pub enum RouteMatch<'a> {
    /// The most specific route that matches.
    Route(&'a Arc<ActiveRoute>),
    /// Routes lead to this path, the most specific first, but none takes the method.
    OtherMethods(Vec<&'a Arc<ActiveRoute>>),
    /// No route has this path.
    Nothing,
}

impl Table {
    /// Two routes must not claim the same; of those that do, either is found.
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

    /// `host` is folded ([`crate::routes::manifest::fold`]) and without port, `path` in its one
    /// form.
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

    /// Under the host's own name, then under those that it is below of, the longest first.
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

/// The route for the method: one that names it, then one that takes it as part of GET, then one
/// that takes any.
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
