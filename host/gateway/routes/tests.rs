use super::*;
use crate::gateway::manifest::{Pattern, Route};
use crate::gateway::metrics::GatewayMetrics;
use proptest::prelude::*;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn route(name: &str, uri: &str) -> Arc<Route> {
    let text = format!("uri: {uri}\nupstream: http://hms-svc-{name}");
    Arc::new(Route::parse(name, &text).unwrap())
}

fn manifest(uri: &str) -> String {
    format!("uri: {uri}\nupstream: http://hms-svc-payments\n")
}

/// A folder and its route set, reloaded by hand.
struct Desk {
    dir: tempfile::TempDir,
    set: Arc<RouteSet>,
}

impl Desk {
    fn open(files: &[(&str, &str)]) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let set = Arc::new(RouteSet::load(dir.path(), GatewayMetrics::new()));
        Desk { dir, set }
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
        self.set
            .table()
            .find(path)
            .map(|route| route.name.to_string())
    }

    fn fault(&self, file: &str) -> Option<String> {
        let status = self
            .set
            .status()
            .into_iter()
            .find(|status| status.file == file)
            .unwrap();
        status.fault.map(|fault| fault.to_string())
    }
}

#[test]
fn the_most_specific_route_wins() {
    let table = Table::new([
        route("all", "/**"),
        route("api", "/api/**"),
        route("exact", "/api/v1/payments"),
        route("payments", "/api/v1/payments/**"),
    ]);
    let name = |path| table.find(path).map(|route| route.name.to_string());
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

proptest! {
    #[test]
    fn the_table_finds_what_a_look_at_every_route_finds(
        uris in prop::collection::hash_set("(/[ab]{1,2}){0,3}(/\\*\\*|/[ab])", 0..12),
        path in "(/[ab]{1,2}){0,4}/?",
    ) {
        let uris: Vec<_> = uris.into_iter().collect();
        let routes: Vec<_> = uris.iter().map(|uri| route("x", uri)).collect();
        let path = if path.is_empty() { "/" } else { &path };
        let naive = routes
            .iter()
            .filter(|route| route.uri.matches(path))
            .max_by_key(|route| (route.uri.base().len(), matches!(route.uri, Pattern::Exact(_))));
        let table = Table::new(routes.iter().cloned());
        prop_assert_eq!(table.find(path).map(|r| &r.uri), naive.map(|r| &r.uri));
    }
}

#[test]
fn a_bad_edit_leaves_the_last_good_route_and_says_why() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a/**")), ("b.yml", &manifest("/b"))]);
    desk.write("a.yaml", "uri: /a/**\nupstraem: http://hms-svc-payments\n");
    assert_eq!(desk.serves("/a/1").as_deref(), Some("a"));
    let fault = desk.fault("a.yaml").unwrap();
    assert!(
        fault.starts_with("line 2, ") && fault.contains("did you mean 'upstream'?"),
        "{fault}"
    );
    assert_eq!(desk.fault("b.yml"), None);
    desk.write("a.yaml", &manifest("/c"));
    assert_eq!(
        (desk.serves("/a/1"), desk.serves("/c").as_deref()),
        (None, Some("a"))
    );
    assert_eq!(desk.fault("a.yaml"), None);
}

#[test]
fn an_empty_file_is_an_unfinished_one_not_a_removal() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a"))]);
    desk.write("a.yaml", "");
    assert!(desk.serves("/a").is_some() && desk.fault("a.yaml").unwrap().contains("empty"));
    desk.remove("a.yaml");
    assert!(desk.serves("/a").is_none() && desk.set.status().is_empty());
}

#[test]
fn a_start_with_a_bad_file_serves_the_rest() {
    let desk = Desk::open(&[("a.yaml", "nonsense"), ("b.yaml", &manifest("/b"))]);
    assert!(desk.serves("/b").is_some() && desk.fault("a.yaml").is_some());
    let status = serde_json::to_value(desk.set.status()).unwrap();
    assert_eq!(status[0]["state"], "refused");
    assert_eq!(
        (&status[1]["state"], &status[1]["route"]["uri"]),
        (&"live".into(), &"/b".into())
    );
}

#[test]
fn a_conflict_names_both_files_and_the_live_route_stays() {
    let desk = Desk::open(&[("m.yaml", &manifest("/x/**"))]);
    desk.write("a.yaml", &manifest("/x/**"));
    assert_eq!(desk.serves("/x").as_deref(), Some("m"));
    let fault = desk.fault("a.yaml").unwrap();
    assert!(
        fault.contains("m.yaml") && fault.contains("a.yaml"),
        "{fault}"
    );
    desk.remove("m.yaml");
    assert_eq!(
        (desk.serves("/x").as_deref(), desk.fault("a.yaml")),
        (Some("a"), None)
    );
}

#[test]
fn two_files_may_swap_their_paths_in_one_reload() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a")), ("b.yaml", &manifest("/b"))]);
    fs::write(desk.dir.path().join("a.yaml"), manifest("/b")).unwrap();
    desk.write("b.yaml", &manifest("/a"));
    assert_eq!(
        (desk.serves("/a").as_deref(), desk.serves("/b").as_deref()),
        (Some("b"), Some("a"))
    );
}

#[test]
fn a_route_that_falls_back_takes_its_old_path_from_a_newcomer() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a")), ("b.yaml", &manifest("/b"))]);
    // a.yaml wants what b.yaml has, and c.yaml wants what a.yaml had.
    fs::write(desk.dir.path().join("a.yaml"), manifest("/b")).unwrap();
    desk.write("c.yaml", &manifest("/a"));
    assert_eq!(
        (desk.serves("/a").as_deref(), desk.serves("/b").as_deref()),
        (Some("a"), Some("b"))
    );
    assert!(desk.fault("a.yaml").is_some() && desk.fault("c.yaml").is_some());
}

#[test]
fn a_folder_that_is_gone_takes_no_route_with_it() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a"))]);
    let away = desk.dir.path().with_extension("away");
    fs::rename(desk.dir.path(), &away).unwrap();
    desk.set.reload();
    assert!(desk.serves("/a").is_some() && desk.set.folder_fault().is_some());
    fs::rename(&away, desk.dir.path()).unwrap();
    desk.set.reload();
    assert_eq!(desk.set.folder_fault(), None);
}

#[test]
fn too_large_or_strange_files_are_refused_alone() {
    let desk = Desk::open(&[
        ("b.yaml", &manifest("/b")),
        (".hidden.yaml", "x"),
        ("notes.txt", "x"),
    ]);
    desk.write(
        "a.yaml",
        &format!("{}# {}", manifest("/a"), "x".repeat(70_000)),
    );
    fs::write(desk.dir.path().join("c.yaml"), [0xff, 0xfe]).unwrap();
    fs::create_dir(desk.dir.path().join("d.yaml")).unwrap();
    desk.set.reload();
    assert!(
        desk.fault("a.yaml").unwrap().contains("65536")
            && desk.fault("c.yaml").unwrap().contains("UTF-8")
    );
    assert_eq!(desk.set.status().len(), 3);
    assert!(desk.serves("/b").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_live_within_a_second() {
    let desk = Desk::open(&[("a.yaml", &manifest("/a"))]);
    desk.set.watch();
    for round in 0..3 {
        let path = format!("/round-{round}");
        let draft = desk.dir.path().join(".a.yaml.swp");
        fs::write(&draft, manifest(&path)).unwrap();
        fs::rename(&draft, desk.dir.path().join("a.yaml")).unwrap();
        let changed = Instant::now();
        while desk.serves(&path).is_none() {
            assert!(changed.elapsed() < Duration::from_secs(1), "round {round}");
            tokio::task::yield_now().await;
        }
    }
}
