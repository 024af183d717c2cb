//! What `GET /routes` and `hms check` say about each file.

use super::active::UpstreamState;
use crate::routes::manifest::{Route, Upstream};
use hms_manifest::{Fault, FileStatus};
use serde::Serialize;
use time::OffsetDateTime;

/// One manifest and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct RouteStatus {
    /// The file name in the routes folder.
    pub file: String,
    pub state: RouteState,
    /// What is wrong with the file as it is now, where it is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The route that serves, be it the file's present text or its last good one. None where there
    /// is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<LiveRoute>,
    /// Since when `state` and `route` are as they are.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteState {
    /// The file's present text serves.
    Live,
    /// The file's present text is refused; its last good route serves on, where there is one.
    Refused,
}

/// The route that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveRoute {
    pub uri: String,
    /// Left out for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Left out for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    pub upstream: String,
    /// Where there are several: each with its weight, and whether it is left out because it fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// In the order in which they run.
    pub plugins: Vec<&'static str>,
    /// What is cut off the path, or empty.
    #[serde(rename = "strip-prefix")]
    pub strip_prefix: String,
    /// `pass` or `upstream`, as in the manifest; the next ones too.
    pub host: &'static str,
    #[serde(rename = "rewrite-location")]
    pub rewrite_location: bool,
    #[serde(rename = "encoded-slashes")]
    pub encoded_slashes: &'static str,
    #[serde(rename = "empty-segments")]
    pub empty_segments: &'static str,
}

/// One of several targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    pub url: String,
    pub weight: u32,
    #[serde(rename = "left-out")]
    pub left_out: bool,
}

impl LiveRoute {
    pub fn of(route: &Route) -> LiveRoute {
        LiveRoute {
            uri: route.uri.to_string(),
            hosts: route.hosts.iter().map(ToString::to_string).collect(),
            methods: route.methods.iter().map(ToString::to_string).collect(),
            upstream: route.upstream.to_string(),
            targets: targets(&route.upstream),
            plugins: route.rules.names(),
            strip_prefix: route.strip.clone(),
            host: if route.pass_host { "pass" } else { "upstream" },
            rewrite_location: route.rewrite_location,
            encoded_slashes: allowed(route.paths.encoded_slashes),
            empty_segments: allowed(route.paths.empty_segments),
        }
    }
}

impl RouteStatus {
    /// As the last look at the folder found it.
    pub fn of(file: &FileStatus<Route>) -> RouteStatus {
        RouteStatus {
            file: file.file.clone(),
            state: match file.faults.is_empty() {
                true => RouteState::Live,
                false => RouteState::Refused,
            },
            faults: file.faults.clone(),
            route: file.live.as_deref().map(LiveRoute::of),
            since: file.since,
        }
    }

    /// The same, with what is known of the upstream just now.
    pub fn with(mut self, state: &UpstreamState) -> RouteStatus {
        let targets = self.route.iter_mut().flat_map(|route| &mut route.targets);
        for (target, left_out) in targets.zip(state.left_out()) {
            target.left_out = left_out;
        }
        self
    }
}

fn allowed(is_allowed: bool) -> &'static str {
    if is_allowed { "allow" } else { "refuse" }
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
            left_out: false,
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
            let shown = json!(LiveRoute::of(&Route::parse("a", &text).unwrap()));
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
