//! The route table: immutable, and its lookup does not grow with the number of routes.

use crate::gateway::manifest::{Pattern, Route};
use std::collections::HashMap;
use std::sync::Arc;

/// One snapshot of all live routes.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Arc<Route>>,
    below: HashMap<String, Arc<Route>>,
    /// The most segments of a base in `below`: a longer prefix of a path need not be looked up, so a path of
    /// thousands of segments costs no more than a short one.
    depth: usize,
}

impl Table {
    /// The routes must not claim the same pattern twice; of two that do, the last stays.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Table {
        let mut table = Table::default();
        for route in routes {
            match &route.uri {
                Pattern::Exact(path) => table.exact.insert(path.clone(), route.clone()),
                Pattern::Below(base) => {
                    table.depth = table.depth.max(base.matches('/').count());
                    table.below.insert(base.clone(), route.clone())
                }
            };
        }
        table
    }

    /// The most specific route: the exact path, else the longest base. `path` is in its one form.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        if let Some(route) = self.exact.get(path) {
            return Some(route);
        }
        if !path.starts_with('/') || self.below.is_empty() {
            return None;
        }
        // Where the bases end that this path is below of: before its 1st, 2nd, … slash, or at its end.
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let ends: Vec<usize> = ends.take(self.depth + 1).collect();
        ends.into_iter()
            .rev()
            .find_map(|end| self.below.get(path.get(..end)?))
    }
}
