//! What `GET /routes` and `hms check` say about each file, in the types of the admin API.

use super::active::UpstreamState;
use crate::routes::manifest::{Route, Upstream};
use hms_api::{HostField, LiveRoute, PathRule, RouteStatus, TargetStatus, Word};
use hms_manifest::FileStatus;

/// What became of a manifest, as the last look at the folder found it.
pub fn route_status(file: &FileStatus<Route>) -> RouteStatus {
    RouteStatus {
        file: file.file.clone(),
        state: file.state(),
        faults: file.faults.clone(),
        route: file.live.as_deref().map(live_route),
        since: file.since,
    }
}

/// A route as it is shown.
pub(super) fn live_route(route: &Route) -> LiveRoute {
    let plugins = route.rules.names().into_iter();
    LiveRoute {
        uri: route.uri.to_string(),
        hosts: route.hosts.iter().map(ToString::to_string).collect(),
        methods: route.methods.iter().map(ToString::to_string).collect(),
        upstream: route.upstream.to_string(),
        targets: targets(&route.upstream),
        plugins: plugins.map(Word::from).collect(),
        strip_prefix: route.strip.clone(),
        host: match route.pass_host {
            true => HostField::Pass,
            false => HostField::Upstream,
        },
        rewrite_location: route.rewrite_location,
        encoded_slashes: path_rule(route.paths.encoded_slashes),
        empty_segments: path_rule(route.paths.empty_segments),
    }
}

/// The same status, with what is known of the upstream just now.
pub(super) fn with_upstream(mut status: RouteStatus, state: &UpstreamState) -> RouteStatus {
    let targets = status.route.iter_mut().flat_map(|route| &mut route.targets);
    for (target, ejected) in targets.zip(state.ejected()) {
        target.ejected = ejected;
    }
    status
}

fn path_rule(is_allowed: bool) -> PathRule {
    match is_allowed {
        true => PathRule::Allow,
        false => PathRule::Refuse,
    }
}

fn targets(upstream: &Upstream) -> Vec<TargetStatus> {
    let several = upstream
        .endpoints
        .iter()
        .filter(|_| upstream.endpoints.len() > 1);
    several
        .map(|endpoint| TargetStatus {
            url: format!("{}{}", endpoint.place, upstream.base),
            weight: endpoint.weight,
            ejected: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn live_route_is_shown_with_its_settings() {
        let plain = "uri: /api/v1/a/**\nupstream: http://a.example\n";
        let more =
            "host: pass\nrewrite-location: false\nencoded-slashes: allow\nempty-segments: allow\n";
        for (text, host, rewrites, oddities) in [
            (plain.to_owned(), "upstream", true, "refuse"),
            (format!("{plain}{more}"), "pass", false, "allow"),
        ] {
            let shown = json!(live_route(&Route::parse("a", &text).unwrap()));
            assert_eq!(shown["strip-prefix"], "/api/v1");
            assert_eq!(
                (&shown["host"], &shown["rewrite-location"]),
                (&json!(host), &json!(rewrites))
            );
            assert_eq!(
                (&shown["encoded-slashes"], &shown["empty-segments"]),
                (&json!(oddities), &json!(oddities))
            );
        }
    }
}
