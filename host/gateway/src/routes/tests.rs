use super::*;
use crate::metrics::GatewayMetrics;
use crate::routes::manifest::Route;
use hms_core::path::{Pattern, Segment};
use hms_manifest::EditError;
use hms_manifest::conformance::{self, Samples};
use proptest::prelude::*;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn route(name: &str, uri: &str) -> Arc<ActiveRoute> {
    let text = format!("uri: {uri}\nupstream: http://hms-svc-{name}");
    ActiveRoute::new(Route::parse(name, &text).unwrap())
}

fn manifest(uri: &str) -> String {
    format!("uri: {uri}\nupstream: http://hms-svc-payments\n")
}

/// Manifests that are followed, so few that tests reach it.
const MOST: usize = 12;

/// A folder and its route set, reloaded by hand.
struct Fixture {
    dir: tempfile::TempDir,
    set: Arc<RouteSet>,
}

impl Fixture {
    fn open(files: &[(&str, &str)]) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let set = Arc::new(RouteSet::load(
            dir.path(),
            None,
            MOST,
            GatewayMetrics::new(),
        ));
        Fixture { dir, set }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).unwrap();
        self.set.reload();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.dir.path().join(file)).unwrap();
        self.set.reload();
    }

    fn serves(&self, path: &str) -> Option<String> {
        found(&self.set.table(), None, "GET", path)
    }

    fn fault(&self, file: &str) -> Option<String> {
        let status = self
            .set
            .status()
            .into_iter()
            .find(|status| status.file == file)
            .unwrap();
        let said: Vec<String> = status.faults.iter().map(ToString::to_string).collect();
        (!said.is_empty()).then(|| said.join("\n"))
    }
}

/// The name of the route that has the request.
fn found(table: &Table, host: Option<&str>, method: &str, path: &str) -> Option<String> {
    match table.find(host, &method.parse().unwrap(), path) {
        RouteMatch::Route(route) => Some(route.name.to_string()),
        RouteMatch::OtherMethods(_) | RouteMatch::Nothing => None,
    }
}

#[test]
fn most_specific_route_wins() {
    let table = Table::new([
        route("all", "/**"),
        route("api", "/api/**"),
        route("exact", "/api/v1/payments"),
        route("payments", "/api/v1/payments/**"),
    ]);
    let name = |path| found(&table, None, "GET", path);
    assert_eq!(name("/api/v1/payments").as_deref(), Some("exact"));
    assert_eq!(name("/api/v1/payments/").as_deref(), Some("payments"));
    assert_eq!(
        name("/api/v1/payments/1/2/3/4/5/6").as_deref(),
        Some("payments")
    );
    assert_eq!(name("/api/v1/paymentsX").as_deref(), Some("api"));
    assert_eq!(name("/api").as_deref(), Some("api"));
    assert_eq!(name("/apiX").as_deref(), Some("all"));
    assert_eq!(name("/").as_deref(), Some("all"));
    assert_eq!(name("*"), None);
}

#[test]
fn host_outranks_none_and_a_literal_outranks_a_name() {
    let with = |name: &str, more: &str| {
        let text = format!("upstream: http://hms-svc-{name}\n{more}");
        ActiveRoute::new(Route::parse(name, &text).unwrap())
    };
    let table = Table::new([
        with("any", "uri: /**"),
        with("host", "uri: /a/**\nhosts: [api.example.org]"),
        with("below", "uri: /**\nhosts: ['*.example.org']"),
        with("deeper", "uri: /**\nhosts: ['*.eu.example.org']"),
        with("id", "uri: /a/{id}"),
        with("list", "uri: /a/list"),
        with("inner", "uri: /a/{id}/files/**"),
        with("post", "uri: /a/{id}\nmethods: [POST]"),
    ]);
    for (host, method, path, expected) in [
        (None, "GET", "/", "any"),
        (Some("api.example.org"), "GET", "/a/1", "host"),
        (Some("api.example.org"), "GET", "/b", "below"),
        (Some("x.eu.example.org"), "GET", "/b", "deeper"),
        (Some("example.org"), "GET", "/b", "any"),
        (None, "GET", "/a/1", "id"),
        (None, "POST", "/a/1", "post"),
        (None, "GET", "/a/list", "list"),
        (None, "POST", "/a/list", "list"),
        (None, "GET", "/a/", "any"),
        (None, "GET", "/a/1/files", "inner"),
        (None, "GET", "/a/list/files/x", "inner"),
        (None, "GET", "/a/1/x", "any"),
    ] {
        let name = found(&table, host, method, path);
        assert_eq!(name.as_deref(), Some(expected), "{host:?} {method} {path}");
    }
}

#[test]
fn unmatched_method_is_told_the_allowed_ones() {
    let text = "uri: /a\nupstream: http://hms-svc-a\nmethods: [GET, POST]";
    let table = Table::new([ActiveRoute::new(Route::parse("a", text).unwrap())]);
    assert_eq!(found(&table, None, "HEAD", "/a").as_deref(), Some("a"));
    match table.find(None, &http::Method::PUT, "/a") {
        RouteMatch::OtherMethods(routes) => {
            let methods: Vec<_> = routes.iter().flat_map(|route| &route.methods).collect();
            assert_eq!(methods, ["GET", "POST"]);
        }
        other => panic!("{other:?}"),
    }
}

/// How specific a pattern is, segment for segment: the definition that the table's lookup must
/// agree with.
fn specificity(pattern: &Pattern) -> Vec<u8> {
    let mut order: Vec<u8> = pattern
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Literal(_) => 3,
            Segment::Any(_) => 2,
        })
        .collect();
    // The end of an exact path is more than `/**`.
    order.push(if pattern.is_below() { 0 } else { 1 });
    order
}

proptest! {
    #[test]
    fn route_lookup_agrees_with_a_linear_scan(
        uris in prop::collection::hash_set("(/([ab]{1,2}|\\{x\\})){0,1}(/([ab]{1,2}|\\{y\\})){0,2}(/\\*\\*|/[ab])", 0..12),
        path in "(/[ab]{1,2}){0,4}/?",
    ) {
        // Names do not tell patterns apart.
        let mut shapes = std::collections::HashSet::new();
        let routes: Vec<_> = uris
            .iter()
            .filter(|uri| uri.matches("{y}").count() < 2)
            .map(|uri| route("x", uri))
            .filter(|route| shapes.insert(route.uri.shape()))
            .collect();
        let path = if path.is_empty() { "/" } else { &path };
        let naive = routes
            .iter()
            .filter(|route| route.uri.matches(path))
            .max_by_key(|route| specificity(&route.uri));
        let table = Table::new(routes.iter().cloned());
        let found = match table.find(None, &http::Method::GET, path) {
            RouteMatch::Route(route) => Some(&route.uri),
            _ => None,
        };
        prop_assert_eq!(found, naive.map(|r| &r.uri));
    }

    #[test]
    fn host_lookup_agrees_with_a_linear_scan(
        hosts in prop::collection::hash_set("(\\*\\.)?([ab]\\.){0,2}[ab]", 0..8),
        host in "([ab]\\.){0,3}[ab]",
    ) {
        let routes: Vec<_> = hosts
            .iter()
            .map(|host| {
                let text = format!("uri: /**\nupstream: http://hms-svc-a\nhosts: ['{host}']");
                ActiveRoute::new(Route::parse(host, &text).unwrap())
            })
            .collect();
        // A whole name is longer than every name that it is below of.
        let naive = routes
            .iter()
            .filter(|route| route.hosts[0].matches(&host))
            .max_by_key(|route| route.name.trim_start_matches("*.").len());
        let table = Table::new(routes.iter().cloned());
        let name = found(&table, Some(&host), "GET", "/x");
        prop_assert_eq!(name.as_deref(), naive.map(|route| &*route.name));
    }
}

#[test]
fn bad_edit_keeps_the_last_good_route_and_states_the_fault() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a/**")), ("b.yml", &manifest("/b"))]);
    fixture.write("a.yaml", "uri: /a/**\nupstraem: http://hms-svc-payments\n");
    assert_eq!(fixture.serves("/a/1").as_deref(), Some("a"));
    let fault = fixture.fault("a.yaml").unwrap();
    assert!(
        fault.starts_with("line 2, ") && fault.contains("did you mean 'upstream'?"),
        "{fault}"
    );
    assert_eq!(fixture.fault("b.yml"), None);
    fixture.write("a.yaml", &manifest("/c"));
    assert_eq!(
        (fixture.serves("/a/1"), fixture.serves("/c").as_deref()),
        (None, Some("a"))
    );
    assert_eq!(fixture.fault("a.yaml"), None);
}

#[test]
fn empty_file_counts_as_unfinished_rather_than_removed() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a"))]);
    fixture.write("a.yaml", "");
    assert!(fixture.serves("/a").is_some() && fixture.fault("a.yaml").unwrap().contains("empty"));
    fixture.remove("a.yaml");
    assert!(fixture.serves("/a").is_none() && fixture.set.status().is_empty());
}

#[test]
fn bad_file_at_startup_does_not_stop_the_other_routes() {
    let fixture = Fixture::open(&[("a.yaml", "nonsense"), ("b.yaml", &manifest("/b"))]);
    assert!(fixture.serves("/b").is_some() && fixture.fault("a.yaml").is_some());
    let status = serde_json::to_value(fixture.set.status()).unwrap();
    assert_eq!(status[0]["state"], "refused");
    assert_eq!(
        (&status[1]["state"], &status[1]["route"]["uri"]),
        (&"live".into(), &"/b".into())
    );
}

#[test]
fn conflict_names_both_files_and_the_live_route_stays() {
    let fixture = Fixture::open(&[("m.yaml", &manifest("/x/**"))]);
    fixture.write("a.yaml", &manifest("/x/**"));
    assert_eq!(fixture.serves("/x").as_deref(), Some("m"));
    let fault = fixture.fault("a.yaml").unwrap();
    assert!(
        fault.contains("m.yaml") && fault.contains("a.yaml"),
        "{fault}"
    );
    fixture.remove("m.yaml");
    assert_eq!(
        (fixture.serves("/x").as_deref(), fixture.fault("a.yaml")),
        (Some("a"), None)
    );
}

#[test]
fn files_with_different_hosts_or_methods_do_not_conflict() {
    let uri = manifest("/x/{id}");
    let fixture = Fixture::open(&[
        ("a.yaml", &uri),
        ("b.yaml", &format!("{uri}hosts: [a.org, b.org]\n")),
        ("c.yaml", &format!("{uri}methods: [GET]\n")),
        ("d.yaml", &format!("{uri}methods: [POST, PUT]\n")),
    ]);
    for file in ["a.yaml", "b.yaml", "c.yaml", "d.yaml"] {
        assert_eq!(fixture.fault(file), None, "{file}");
    }
    fixture.write(
        "e.yaml",
        &format!("{}methods: [DELETE, PUT]\n", manifest("/x/{name}")),
    );
    let fault = fixture.fault("e.yaml").unwrap();
    assert!(
        fault.contains("PUT of uri '/x/{}' is claimed by d.yaml and e.yaml"),
        "{fault}"
    );
    fixture.write("f.yaml", &format!("{uri}hosts: [c.org, b.org]\n"));
    let fault = fixture.fault("f.yaml").unwrap();
    assert!(
        fault.contains("for host b.org is claimed by b.yaml"),
        "{fault}"
    );
}

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    let text = "uri: api\nupstraem: x\nplugins:\n  - auht\n  - rate-limit: {limit: 0, windw: 5}\nmethods: [GET, PSOT]\n";
    let fixture = Fixture::open(&[("a.yaml", text)]);
    let said = fixture.fault("a.yaml").unwrap();
    let lines: Vec<&str> = said.lines().collect();
    for (line, begin, word) in [
        (0, "line 1, column 6: ", "must begin with '/'"),
        (1, "line 2, column 1: ", "did you mean 'upstream'?"),
        (2, "line 4, column 5: ", "did you mean 'auth'?"),
        (3, "line 5, column 25: ", "from 1 to 1000000"),
        (4, "line 5, column 28: ", "did you mean 'window'?"),
        (5, "line 6, column 16: ", "did you mean 'POST'?"),
    ] {
        assert!(
            lines[line].starts_with(begin) && lines[line].contains(word),
            "{said}"
        );
    }
    assert_eq!(lines.len(), 6, "{said}");
}

#[test]
fn last_good_route_serves_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (routes, kept) = (dir.path().join("routes"), dir.path().join("routes.json"));
    fs::create_dir(&routes).unwrap();
    let load = || RouteSet::load(&routes, Some(kept.clone()), MOST, GatewayMetrics::new());
    fs::write(routes.join("a.yaml"), manifest("/a")).unwrap();
    fs::write(routes.join("other.yaml"), manifest("/other")).unwrap();
    drop(load());
    // As hosts from before wrote it.
    let json = fs::read_to_string(&kept).unwrap();
    assert!(
        json.contains("\n  \"routes\": {\n    \"a.yaml\": "),
        "{json}"
    );
    fs::write(routes.join("a.yaml"), "uri: /b").unwrap();
    let set = load();
    assert_eq!(found(&set.table(), None, "GET", "/a").as_deref(), Some("a"));
    assert_eq!(set.status()[0].faults.len(), 1);
    drop(set);
    // And after the next; but not what was removed meanwhile, and not in another folder.
    assert!(found(&load().table(), None, "GET", "/a").is_some());
    fs::remove_file(routes.join("a.yaml")).unwrap();
    drop(load());
    fs::write(routes.join("a.yaml"), "uri: /b").unwrap();
    assert!(found(&load().table(), None, "GET", "/a").is_none());
}

#[test]
fn edit_is_checked_as_a_whole_before_it_is_written() {
    let fixture = Fixture::open(&[("a.yml", &manifest("/a")), ("b.yaml", &manifest("/b"))]);
    let (status, new) = fixture.set.put("a", &manifest("/c")).unwrap();
    assert_eq!((status.file.as_str(), new), ("a.yml", false));
    assert_eq!(fixture.serves("/c").as_deref(), Some("a"));
    assert!(
        matches!(fixture.set.put("a", "uri: x"), Err(EditError::Refused(faults)) if faults.len() == 2)
    );
    assert!(matches!(
        fixture.set.put("a", &manifest("/b")),
        Err(EditError::Claimed(_))
    ));
    for name in ["", "../a", ".a", "a/b", "-a"] {
        assert!(
            matches!(
                fixture.set.put(name, &manifest("/n")),
                Err(EditError::Name(_))
            ),
            "{name}"
        );
    }
    assert_eq!(fixture.serves("/c").as_deref(), Some("a"));
    assert!(fixture.set.put("n", &manifest("/n")).unwrap().1);
    fixture.set.manifests().remove("n").unwrap();
    assert_eq!(fixture.serves("/n"), None);
    assert!(matches!(
        fixture.set.manifests().remove("n"),
        Err(EditError::Unknown(_))
    ));
}

#[test]
fn two_files_can_swap_paths_in_one_reload() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a")), ("b.yaml", &manifest("/b"))]);
    fs::write(fixture.dir.path().join("a.yaml"), manifest("/b")).unwrap();
    fixture.write("b.yaml", &manifest("/a"));
    assert_eq!(
        (
            fixture.serves("/a").as_deref(),
            fixture.serves("/b").as_deref()
        ),
        (Some("b"), Some("a"))
    );
}

#[test]
fn route_falling_back_takes_its_old_path_from_a_newcomer() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a")), ("b.yaml", &manifest("/b"))]);
    // a.yaml wants what b.yaml has, and c.yaml wants what a.yaml had.
    fs::write(fixture.dir.path().join("a.yaml"), manifest("/b")).unwrap();
    fixture.write("c.yaml", &manifest("/a"));
    assert_eq!(
        (
            fixture.serves("/a").as_deref(),
            fixture.serves("/b").as_deref()
        ),
        (Some("a"), Some("b"))
    );
    assert!(fixture.fault("a.yaml").is_some() && fixture.fault("c.yaml").is_some());
}

#[test]
fn missing_folder_removes_no_route() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a"))]);
    let away = fixture.dir.path().with_extension("away");
    fs::rename(fixture.dir.path(), &away).unwrap();
    fixture.set.reload();
    assert!(fixture.serves("/a").is_some() && fixture.set.manifests().folder_fault().is_some());
    fs::rename(&away, fixture.dir.path()).unwrap();
    fixture.set.reload();
    assert_eq!(fixture.set.manifests().folder_fault(), None);
}

#[test]
fn oversized_and_unreadable_files_are_rejected_alone() {
    let fixture = Fixture::open(&[
        ("b.yaml", &manifest("/b")),
        (".hidden.yaml", "x"),
        ("notes.txt", "x"),
    ]);
    fixture.write(
        "a.yaml",
        &format!("{}# {}", manifest("/a"), "x".repeat(70_000)),
    );
    fs::write(fixture.dir.path().join("c.yaml"), [0xff, 0xfe]).unwrap();
    fs::create_dir(fixture.dir.path().join("d.yaml")).unwrap();
    fixture.set.reload();
    assert!(
        fixture.fault("a.yaml").unwrap().contains("65536")
            && fixture.fault("c.yaml").unwrap().contains("UTF-8")
    );
    assert!(fixture.fault("d.yaml").unwrap().contains("is a folder"));
    assert_eq!(fixture.set.status().len(), 4);
    assert!(fixture.serves("/b").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_is_live_within_a_second() {
    let fixture = Fixture::open(&[("a.yaml", &manifest("/a"))]);
    fixture.set.manifests().watch();
    for round in 0..3 {
        let path = format!("/round-{round}");
        let draft = fixture.dir.path().join(".a.yaml.swp");
        fs::write(&draft, manifest(&path)).unwrap();
        fs::rename(&draft, fixture.dir.path().join("a.yaml")).unwrap();
        let changed = Instant::now();
        while fixture.serves(&path).is_none() {
            assert!(changed.elapsed() < Duration::from_secs(1), "round {round}");
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn route_conforms() {
    conformance::run::<Route>(&Samples {
        good: [
            "uri: /a\nupstream: http://hms-svc-payments\n",
            "uri: /b/**\nupstream: http://hms-svc-payments\n",
        ],
        bad: "uri: /a\nupstraem: http://hms-svc-payments\n",
        place: (2, 1),
    });
}

#[test]
fn operators_page_lists_the_bounds() {
    let page = include_str!("../../../../docs/limits.md");
    assert_eq!(crate::Limits::default().max_routes, 10_000);
    assert_eq!(hms_manifest::MAX_MANIFEST_BYTES, 64 << 10);
    assert!(page.contains(
        "| manifests in the routes folder; components in a watched folder | 10,000; 10,000 |"
    ));
    assert!(page.contains("| bytes of a manifest | 64 KiB |"));
    assert_eq!(hms_manifest::LOOK_TIME, Duration::from_secs(5));
    assert!(page.contains("a look at the folder; for the folder's disk | 5 s; 10 s with that |"));
}
