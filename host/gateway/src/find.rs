//! Finds the route of a request.

use super::plugins::preflight_for;
use super::request::target::Target;
use super::routes::manifest::fold;
use super::routes::{ActiveRoute, RouteMatch, Table};
use crate::request::rejection::Rejection;
use hms_core::path::Oddities;
use http::Method;
use http::request::Parts;
use std::sync::Arc;

/// No route matches the request.
#[derive(Debug)]
pub(crate) struct Missed<'a> {
    pub error: Rejection,
    /// The route of the same path whose `cors` decides which pages may read the refusal.
    pub beside: Option<&'a Arc<ActiveRoute>>,
}

/// The route of the request, which must accept the path in this form. A path that a service may
/// read in a second way is refused if that reading matches another route: its plugins would be
/// bypassed.
///
/// If the second reading matches no route, there is nothing to bypass.
pub(crate) fn find<'a>(
    table: &'a Table,
    target: &Target,
    parts: &Parts,
) -> Result<&'a Arc<ActiveRoute>, Missed<'a>> {
    let found = find_by(table, target, parts, target.path());
    let (allowed, beside) = match &found {
        Ok(route) => (route.paths, Some(*route)),
        Err(missed) => (Oddities::default(), missed.beside),
    };
    let refused = |error| Missed { error, beside };
    target.admit(allowed).map_err(refused)?;
    let route = found?;
    for reading in target.other_readings() {
        match find_by(table, target, parts, &reading) {
            Err(missed) if matches!(missed.error, Rejection::NoRoute) => {}
            Ok(other) if Arc::ptr_eq(other, route) => {}
            _ => {
                return Err(refused(Rejection::BadRequest(
                    "read in another way, with its encoded slashes or empty segments, the path leads to \
                     another route"
                        .into(),
                )));
            }
        }
    }
    Ok(route)
}

/// The most specific route for `path`; for a preflight, that of the method it asks about.
fn find_by<'a>(
    table: &'a Table,
    target: &Target,
    parts: &Parts,
    path: &str,
) -> Result<&'a Arc<ActiveRoute>, Missed<'a>> {
    let host = target.authority().map(|authority| fold(authority.host()));
    let find = |method: &Method| table.find(host.as_deref(), method, path);
    if let Some(wanted) = preflight_for(&parts.method, &parts.headers)
        && let RouteMatch::Route(route) = find(&wanted)
        && route.rules.answers_preflights()
    {
        return Ok(route);
    }
    match find(&parts.method) {
        RouteMatch::Route(route) => Ok(route),
        RouteMatch::OtherMethods(routes) => {
            let methods = routes.iter().flat_map(|route| &route.methods);
            let mut names: Vec<&str> = methods.map(Method::as_str).collect();
            names.sort_unstable();
            names.dedup();
            let allow = names.join(", ");
            let beside = routes
                .into_iter()
                .find(|route| route.rules.answers_preflights());
            Err(Missed {
                error: Rejection::MethodNotAllowed { allow },
                beside,
            })
        }
        RouteMatch::Nothing => Err(Missed {
            error: Rejection::NoRoute,
            beside: None,
        }),
    }
}
