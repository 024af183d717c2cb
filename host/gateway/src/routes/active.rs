//! A route in the table: its manifest, and beside it the live state of its upstream.
//!
//! The state is kept by the route's file and the endpoint. So it survives an edit of the route that
//! leaves the endpoint and its path unchanged. Routes do not share it: how one path of a service
//! answers says little about another.

use super::status::{route_status, with_upstream};
use crate::routes::manifest::{Destination, Route};
use hms_api::RouteStatus;
use hms_manifest::FileStatus;
use hms_net::client::{Health, Rotation};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A live route.
#[derive(Debug)]
pub struct ActiveRoute {
    route: Arc<Route>,
    /// Another one each time that a manifest makes another route of its file.
    pub version: u64,
    /// What requests have shown about its targets. Survives an edit of the manifest.
    pub upstream_state: Arc<UpstreamState>,
}

/// What requests have shown about an upstream.
#[derive(Debug)]
pub struct UpstreamState {
    pub rotation: Arc<Rotation>,
    /// The path of the endpoints.
    base: String,
    /// In the order of the route's endpoints.
    endpoints: Vec<(Destination, Arc<Health>)>,
}

/// The state of the upstreams of all live routes, by the routes' files.
#[derive(Default)]
pub(super) struct UpstreamStates(HashMap<String, Arc<ActiveRoute>>);

/// Counts the versions of all routes.
static VERSIONS: AtomicU64 = AtomicU64::new(0);

impl ActiveRoute {
    /// An upstream about which nothing is known yet.
    pub fn new(route: Route) -> Arc<ActiveRoute> {
        Arc::new(ActiveRoute {
            upstream_state: UpstreamState::of(&route, None),
            version: VERSIONS.fetch_add(1, Ordering::Relaxed),
            route: Arc::new(route),
        })
    }
}

impl Deref for ActiveRoute {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

impl UpstreamState {
    /// The state for `route`, with what `before` knows about its endpoints.
    fn of(route: &Route, before: Option<&Arc<UpstreamState>>) -> Arc<UpstreamState> {
        let upstream = &route.upstream;
        // The only target is never ejected, so nothing is recorded about it.
        let is_known = |before: &&Arc<UpstreamState>| {
            upstream.endpoints.len() > 1 && before.base == upstream.base
        };
        let before = before.filter(is_known);
        let known = before.map_or(&[][..], |before| &before.endpoints);
        let places = || upstream.endpoints.iter().map(|found| &found.place);
        if let Some(before) = before
            && places().eq(known.iter().map(|(place, _)| place))
        {
            return before.clone();
        }
        let health = |place: &Destination| {
            let known = known.iter().find(|(known, _)| known == place);
            known.map_or_else(Arc::default, |(_, health)| health.clone())
        };
        Arc::new(UpstreamState {
            rotation: before.map_or_else(Arc::default, |before| before.rotation.clone()),
            base: upstream.base.clone(),
            endpoints: places()
                .map(|place| (place.clone(), health(place)))
                .collect(),
        })
    }

    /// Whether this is about the endpoints that `route` has.
    fn is_of(&self, route: &Route) -> bool {
        let upstream = &route.upstream;
        let places = upstream.endpoints.iter().map(|found| &found.place);
        self.base == upstream.base && places.eq(self.endpoints.iter().map(|(place, _)| place))
    }

    /// Of the endpoint at `index` of the route.
    pub fn health(&self, index: usize) -> Option<&Health> {
        self.endpoints.get(index).map(|(_, health)| &**health)
    }

    /// Whether each endpoint is ejected because it fails.
    pub fn ejected(&self) -> impl Iterator<Item = bool> {
        let now = Instant::now();
        self.endpoints
            .iter()
            .map(move |(_, health)| !health.is_in(now))
    }
}

impl UpstreamStates {
    /// Makes `routes` the live ones. State of endpoints that none of them has is dropped.
    pub(super) fn activate(
        &mut self,
        routes: impl Iterator<Item = (String, Arc<Route>)>,
    ) -> Vec<Arc<ActiveRoute>> {
        let before = std::mem::take(&mut self.0);
        let active = routes.map(|(file, route)| {
            let before = before.get(&file);
            let same = before.filter(|before| before.route == route);
            let active = Arc::new(ActiveRoute {
                upstream_state: UpstreamState::of(&route, before.map(|it| &it.upstream_state)),
                version: match same {
                    Some(before) => before.version,
                    None => VERSIONS.fetch_add(1, Ordering::Relaxed),
                },
                route,
            });
            self.0.insert(file, active.clone());
            active
        });
        active.collect()
    }

    /// What is shown of a file, with what is known just now of the upstream of its route.
    pub(super) fn shown(&self, file: &FileStatus<Route>) -> RouteStatus {
        let status = route_status(file);
        // What was looked at and what serves may be of two moments.
        let is_of = |state: &&Arc<UpstreamState>| {
            file.live.as_ref().is_some_and(|route| state.is_of(route))
        };
        let state = self.0.get(&file.file).map(|active| &active.upstream_state);
        match state.filter(is_of) {
            Some(state) => with_upstream(status, state),
            None => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn route(name: &str, targets: &str) -> Arc<Route> {
        let text = format!("uri: /a/**\nupstream:\n  targets: [{targets}]\n");
        Arc::new(Route::parse(name, &text).unwrap())
    }

    fn activate(states: &mut UpstreamStates, route: Arc<Route>) -> Arc<UpstreamState> {
        let active = states.activate([(format!("{}.yaml", route.name), route)].into_iter());
        active[0].upstream_state.clone()
    }

    fn ejected(state: &UpstreamState) -> Vec<bool> {
        state.ejected().collect()
    }

    #[test]
    fn endpoint_health_survives_an_edit_of_its_route_and_is_not_shared() {
        let mut states = UpstreamStates::default();
        let first = activate(&mut states, route("a", "http://one, http://two"));
        let pause = Duration::from_secs(60);
        first.health(0).unwrap().failed(Instant::now(), 1, pause);
        assert_eq!(ejected(&first), [true, false]);

        let same = activate(
            &mut states,
            route("a", "http://one, {url: http://two, weight: 3}"),
        );
        assert!(Arc::ptr_eq(&first, &same));
        let moved = activate(&mut states, route("a", "http://three, http://one"));
        assert_eq!(ejected(&moved), [false, true]);
        let other = activate(&mut states, route("b", "http://one, http://two"));
        assert_eq!(ejected(&other), [false, false]);
        // It served nothing meanwhile.
        let back = activate(&mut states, route("a", "http://three, http://one"));
        assert_eq!(ejected(&back), [false, false]);
    }

    #[test]
    fn single_target_and_targets_with_a_new_path_start_with_fresh_health() {
        let mut states = UpstreamStates::default();
        let pause = Duration::from_secs(60);
        let out = |state: &UpstreamState| state.health(0).unwrap().failed(Instant::now(), 1, pause);
        out(&activate(&mut states, route("a", "http://one, http://two")));
        let alone = activate(&mut states, route("a", "http://one"));
        assert_eq!(ejected(&alone), [false]);
        let again = activate(&mut states, route("a", "http://one, http://three"));
        assert_eq!(ejected(&again), [false, false]);

        let first = activate(&mut states, route("a", "http://one/v1, http://two/v1"));
        out(&first);
        let corrected = activate(&mut states, route("a", "http://one/v2, http://two/v2"));
        assert_eq!(ejected(&corrected), [false, false]);
    }

    #[test]
    fn two_files_of_one_name_have_separate_health() {
        let mut states = UpstreamStates::default();
        let both = || {
            let of = |file: &str| (file.to_owned(), route("a", "http://one, http://two"));
            [of("a.yaml"), of("a.yml")].into_iter()
        };
        let active = states.activate(both());
        let pause = Duration::from_secs(60);
        let health = active[1].upstream_state.health(0).unwrap();
        health.failed(Instant::now(), 1, pause);
        let active = states.activate(both());
        let left = active.iter().map(|route| ejected(&route.upstream_state));
        assert!(left.eq([[false, false], [true, false]]));
    }

    #[test]
    fn route_has_another_version_once_its_manifest_says_something_else() {
        let mut states = UpstreamStates::default();
        let mut version = |targets: &str| {
            let route = route("a", targets);
            let active = states.activate([("a.yaml".to_owned(), route)].into_iter());
            active[0].version
        };
        let first = version("http://one, http://two");
        assert_eq!(version("http://one, http://two"), first);
        let second = version("http://two, http://one");
        assert_ne!(second, first);
        let back = version("http://one, http://two");
        assert!(back != first && back != second);
    }

    #[test]
    fn route_equality_ignores_upstream_health() {
        let one = route("a", "http://one, http://two");
        assert_eq!(one, route("a", "http://one, http://two"));
        assert_ne!(one, route("a", "http://two, http://one"));
    }
}
