//! `hms check`: manifests of routes and grants without a host.

mod deliveries;

use crate::config::GRANTS_FOLDER;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hms_api::{Fault, FileState, GrantsStatus, RouteStatus};
use hms_core::printable::{Printable, printable};
use hms_disk::files::{is_manifest, read_at_most};
use hms_gateway::routes::manifest::{Destination, Route};
use hms_gateway::routes::{RouteSet, route_status};
use hms_gateway::{GatewayMetrics, Limits};
use hms_grants::ability::{shadowed, unused_secrets};
use hms_grants::{
    AllGrants, GrantsFile, GrantsFolder, GrantsMetrics, NamedFiles, WindowGrants, grants_status,
    of_file,
};
use hms_manifest::{FileStatus, MAX_MANIFEST_BYTES, Manifest, check_file, line_of};
use hms_telemetry::print_json;
use hms_windows::WindowName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Check manifests of routes and grants without serving, and report every fault of every file.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Folders of manifests, or single ones, of routes or grants [default: both folders]
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// The folder of route manifests, if no path is given
    #[arg(long, value_name = "DIR", default_value = "routes", env = "HMS_ROUTES")]
    routes: PathBuf,
    /// The folder of grants, if no path is given [default: windows]
    #[arg(long, value_name = "DIR", env = "HMS_GRANTS")]
    grants: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the JSON Schema of manifests, for editors
    #[arg(
        long,
        value_name = "KIND",
        num_args = 0..=1,
        default_missing_value = "routes"
    )]
    schema: Option<Kind>,
}

/// What a manifest is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Routes,
    Grants,
}

/// What was found.
#[derive(Default)]
struct CheckedFiles {
    routes: Vec<(FileStatus<Route>, RouteStatus)>,
    grants: Vec<(FileStatus<GrantsFile>, GrantsStatus)>,
    /// The folder of each of the routes, and of each of the grants.
    folders: [Vec<PathBuf>; 2],
    /// Grants that nobody uses, and the like.
    notes: Vec<String>,
    /// The grants that are in force.
    granted: Vec<(WindowName, WindowGrants)>,
    /// Windows that there are files of, beside those with grants and routes.
    components: BTreeSet<String>,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.schema {
            Some(Kind::Routes) => {
                say!("{:#}", hms_gateway::routes::manifest::schema::schema());
                return Ok(());
            }
            Some(Kind::Grants) => {
                say!("{:#}", hms_grants::schema());
                return Ok(());
            }
            None => {}
        }
        let found = self.found()?;
        let files: Vec<_> = found.files().collect();
        let faulty = files
            .iter()
            .filter(|(_, faults)| !faults.is_empty())
            .count();
        if self.json {
            let routes = found.routes.iter().map(|(_, shown)| shown);
            let grants = found.grants.iter().map(|(_, shown)| shown);
            print_json(&serde_json::json!({
                "routes": routes.collect::<Vec<_>>(),
                "grants": grants.collect::<Vec<_>>(),
                "notes": found.notes,
            }));
        } else {
            for (file, faults) in &files {
                let name = Printable(file.display());
                if faults.is_empty() {
                    say!("{name}: ok");
                }
                for fault in *faults {
                    say!("{name}: {}", Printable(fault));
                }
            }
            for note in &found.notes {
                say!("note: {}", printable(note));
            }
        }
        anyhow::ensure!(
            faulty == 0,
            "{faulty} of {} manifests have faults",
            files.len()
        );
        Ok(())
    }

    fn found(&self) -> anyhow::Result<CheckedFiles> {
        let mut found = CheckedFiles::default();
        if self.paths.is_empty() {
            found.add_routes(&self.routes)?;
            let folder = self.grants.as_deref();
            let default = Path::new(GRANTS_FOLDER);
            // A host may have no grants; a folder that somebody has named is to be there.
            match folder {
                Some(folder) => found.add_grants(folder)?,
                None if default.is_dir() => found.add_grants(default)?,
                None => {}
            }
        }
        for path in &self.paths {
            match kind_of(path) {
                Kind::Routes => found.add_routes(path)?,
                Kind::Grants => found.add_grants(path)?,
            }
        }
        found.compare();
        Ok(found)
    }
}

impl CheckedFiles {
    /// Every manifest with its faults. A route and grants may have the same name: each has its
    /// folder.
    fn files(&self) -> impl Iterator<Item = (PathBuf, &[Fault])> {
        let [of_routes, of_grants] = &self.folders;
        let routes = self.routes.iter().zip(of_routes);
        let routes = routes.map(|((_, shown), at)| (at.join(&shown.file), &*shown.faults));
        let grants = self.grants.iter().zip(of_grants);
        let grants = grants.map(|((_, shown), at)| (at.join(&shown.file), &*shown.faults));
        routes.chain(grants)
    }

    /// What each manifest is, at least one: a script that names a wrong place must hear of it.
    fn add_routes(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("cannot read the routes folder {shown}"))?;
        let (folder, files) = if metadata.is_dir() {
            let most = Limits::default().max_routes;
            let set = RouteSet::load(path, None, most, GatewayMetrics::new());
            if let Some(fault) = set.manifests().folder_fault() {
                bail!("cannot read the routes folder {shown}: {fault}");
            }
            (path, set.manifests().status())
        } else {
            let files = check_file::<Route>(path).with_context(|| no_manifest(path))?;
            (path.parent().unwrap_or(path), files)
        };
        anyhow::ensure!(
            !files.is_empty(),
            "no manifest in {shown}: manifests are files that end with .yaml or .yml"
        );
        let [of_routes, _] = &mut self.folders;
        for file in files {
            let shown = route_status(&file);
            self.routes.push((file, shown));
            of_routes.push(folder.to_owned());
        }
        Ok(())
    }

    fn add_grants(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("cannot read the grants folder {shown}"))?;
        let (folder, files) = if metadata.is_dir() {
            let (all, counts) = (Arc::<AllGrants>::default(), GrantsMetrics::default());
            let set = GrantsFolder::load(NamedFiles::of(path), None, all, counts);
            if let Some(fault) = set.files().folder_fault() {
                bail!("cannot read the grants folder {shown}: {fault}");
            }
            (path, set.files().status())
        } else {
            let files = check_file::<GrantsFile>(path).with_context(|| no_manifest(path))?;
            (path.parent().unwrap_or(path), files)
        };
        self.components.extend(deliveries::components(folder));
        for file in files {
            if let Some(live) = &file.live {
                let granted = of_file(live, folder, &file.file);
                let unused = unused_secrets(&granted).into_iter().map(|(name, line)| {
                    format!(
                        "{}: nothing uses the secret '{name}': no 'inject', no 'placeholders', \
                         no 'reveal'",
                        granted.at(line)
                    )
                });
                self.notes.extend(unused);
                let shadowed = shadowed(&granted).into_iter().map(|entry| {
                    format!(
                        "{}: no request reaches this entry for {}: earlier ones allow all that it \
                         allows, and the first that fits decides",
                        granted.at(entry.line),
                        entry.to()
                    )
                });
                self.notes.extend(shadowed);
                self.granted.push((live.window.clone(), granted));
            }
            // Secrets are on the machine that serves.
            let shown = grants_status(&file, folder, &BTreeMap::new());
            self.grants.push((file, shown));
            let [_, of_grants] = &mut self.folders;
            of_grants.push(folder.to_owned());
        }
        Ok(())
    }

    /// Holds routes and grants against each other.
    fn compare(&mut self) {
        self.notes.extend(deliveries::reached(self));
        self.notes.extend(deliveries::unknown_sources(self));
        let internal = self
            .grants
            .iter()
            .filter_map(|(file, _)| file.live.as_ref());
        let internal: BTreeSet<&str> = internal
            .filter(|live| live.grants.internal)
            .map(|live| live.window.as_str())
            .collect();
        for (file, shown) in &mut self.routes {
            let Some(route) = &file.live else { continue };
            let upstreams: BTreeSet<&str> = windows_of(route).collect();
            let middlewares = route.rules.middlewares().iter().map(String::as_str);
            let middlewares: BTreeSet<&str> = middlewares.collect();
            let named = [("upstream", upstreams), ("plugins", middlewares)];
            let windows = named.iter().flat_map(|(field, windows)| {
                let windows = windows.iter().filter(|name| internal.contains(*name));
                windows.map(move |window| (*field, *window))
            });
            for (field, window) in windows {
                shown.state = FileState::Refused;
                shown.faults.push(Fault {
                    line: line_of(route.text(), field),
                    column: 1,
                    reason: format!(
                        "the window '{window}' is internal by its grants: only other windows call \
                         it, and no route may lead there"
                    ),
                });
            }
        }
    }
}

/// The windows that a route leads to.
fn windows_of(route: &Route) -> impl Iterator<Item = &str> {
    let endpoints = route.upstream.endpoints.iter();
    endpoints.filter_map(|endpoint| match &endpoint.place {
        Destination::Window(name) => Some(name.as_str()),
        _ => None,
    })
}

fn no_manifest(path: &Path) -> String {
    format!(
        "{} is not a manifest: its name must end with .yaml or .yml",
        path.display()
    )
}

/// Of what kind the manifests at `path` are, by the fields that they begin with; routes where that
/// says nothing.
fn kind_of(path: &Path) -> Kind {
    let mut files = match std::fs::read_dir(path) {
        Ok(entries) => {
            let paths = entries.flatten().map(|entry| entry.path());
            paths
                .filter(|path| path.file_name().is_some_and(is_manifest))
                .collect()
        }
        Err(_) => vec![path.to_owned()],
    };
    files.sort();
    let kinds = files.iter().filter_map(|file| {
        let text = read_at_most(file, MAX_MANIFEST_BYTES).ok()?;
        kind_of_text(&String::from_utf8_lossy(&text))
    });
    let (routes, grants): (Vec<Kind>, Vec<Kind>) = kinds.partition(|kind| *kind == Kind::Routes);
    match grants.len() > routes.len() {
        true => Kind::Grants,
        false => Kind::Routes,
    }
}

fn kind_of_text(text: &str) -> Option<Kind> {
    const ROUTES: [&str; 3] = ["uri", "upstream", "plugins"];
    let has = |fields: &[&str]| {
        let mut names = text.lines().filter_map(|line| line.split_once(':'));
        names.any(|(name, _)| fields.contains(&name.trim_end()))
    };
    if has(&ROUTES) {
        return Some(Kind::Routes);
    }
    let grants: Vec<&str> = hms_grants::fields().collect();
    has(&grants).then_some(Kind::Grants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn check(routes: &Path) -> Result<(), String> {
        check_all(&[routes])
    }

    fn check_all(paths: &[&Path]) -> Result<(), String> {
        let check = Check {
            paths: paths.iter().map(PathBuf::from).collect(),
            routes: "routes".into(),
            grants: None,
            json: false,
            schema: None,
        };
        check.run().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn check_fails_without_manifests_and_accepts_a_single_file() {
        let dir = tempfile::tempdir().unwrap();
        let refused = check(dir.path()).unwrap_err();
        assert!(refused.starts_with("no manifest in "), "{refused}");
        let refused = check(&dir.path().join("nowhere")).unwrap_err();
        assert!(refused.contains(": No such file"), "{refused}");

        let good = dir.path().join("good.yaml");
        fs::write(&good, "uri: /a\nupstream: http://hms-svc-w\n").unwrap();
        let bad = dir.path().join("bad.YML");
        fs::write(&bad, "uri: /a\n").unwrap();
        let notes = dir.path().join("notes.md");
        fs::write(&notes, "uri: /a\n").unwrap();
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&bad).unwrap_err(), "1 of 1 manifests have faults");
        assert!(check(&notes).unwrap_err().contains("is not a manifest"));
        assert_eq!(
            check(dir.path()).unwrap_err(),
            "1 of 2 manifests have faults"
        );
    }

    #[test]
    fn files_of_the_same_name_are_told_apart_by_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let [routes, grants] = ["routes", "windows"].map(|name| dir.path().join(name));
        for (folder, text) in [
            (&routes, "uri: /a\nupstream: http://hms-svc-w\n"),
            (&grants, "config: {a: b}\ncals: [docs]\n"),
        ] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("w.yaml"), text).unwrap();
        }
        let check = Check {
            paths: vec![routes.clone(), grants.join("w.yaml")],
            routes: "routes".into(),
            grants: None,
            json: false,
            schema: None,
        };
        let found = check.found().unwrap();
        let files: Vec<_> = found.files().map(|(file, it)| (file, it.len())).collect();
        assert_eq!(
            files,
            [(routes.join("w.yaml"), 0), (grants.join("w.yaml"), 1)]
        );
    }

    fn notes(paths: &[&Path]) -> Vec<String> {
        let check = Check {
            paths: paths.iter().map(PathBuf::from).collect(),
            routes: "routes".into(),
            grants: None,
            json: false,
            schema: None,
        };
        check.found().unwrap().notes
    }

    #[test]
    fn route_to_a_delivery_path_and_unknown_sources_are_noted() {
        let dir = tempfile::tempdir().unwrap();
        let [routes, windows] = ["routes", "windows"].map(|name| dir.path().join(name));
        for folder in [&routes, &windows] {
            fs::create_dir(folder).unwrap();
        }
        let route = routes.join("w.yaml");
        let of = |uri: &str, more: &str| {
            let text = format!("uri: {uri}\nupstream: http://hms-svc-w\n{more}");
            fs::write(&route, text).unwrap();
        };
        let grants = windows.join("w.yaml");
        let text = "subscriptions:\n  paid: {from: [payments, w], to: /events}\nschedules:\n  \
                    nightly: {cron: '@daily', to: /jobs/nightly}\n";
        fs::write(&grants, text).unwrap();
        fs::write(windows.join("payments.wasm"), "").unwrap();
        let shown = grants.display();
        let paid = format!(
            "w.yaml: the route reaches /events, to which {shown}:2 has events delivered: callers \
             can send what looks like one; see docs/events.md#forged-events"
        );
        let nightly = format!(
            "w.yaml: the route reaches /jobs/nightly, to which {shown}:4 has events delivered: \
             callers can send what looks like one; see docs/events.md#forged-events"
        );
        for (uri, more, expected) in [
            ("/api/v1/**", "", vec![&paid, &nightly]),
            ("/api/v1/{what}", "", vec![&paid]),
            ("/w/**", "strip-prefix: /w\n", vec![&paid, &nightly]),
            ("/w/**", "", vec![]),
            ("/api/v1/**", "methods: [GET]\n", vec![]),
            ("/api/v1/events/**", "methods: [GET, POST]\n", vec![&paid]),
        ] {
            of(uri, more);
            let found = notes(&[&routes, &windows]);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{uri} {more}");
        }
        fs::remove_file(windows.join("payments.wasm")).unwrap();
        let unknown = format!(
            "{shown}:2: unknown window 'payments' in a subscription: no grants file, route or \
             component has this name"
        );
        assert_eq!(notes(&[&windows]), [unknown]);
        let known = routes.join("payments.yaml");
        fs::write(&known, "uri: /p\nupstream: http://hms-svc-payments\n").unwrap();
        of("/w", "");
        assert_eq!(notes(&[&routes, &windows]), [""; 0]);
    }

    #[test]
    fn grants_are_checked_and_a_route_to_an_internal_window_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let [routes, windows] = ["routes", "windows"].map(|name| dir.path().join(name));
        for folder in [&routes, &windows] {
            fs::create_dir(folder).unwrap();
        }
        let route = routes.join("w.yaml");
        fs::write(&route, "uri: /w\nupstream: http://hms-svc-w\n").unwrap();
        let grants = windows.join("w.yaml");
        fs::write(&grants, "calls: [docs]\n").unwrap();
        assert_eq!(check(&grants), Ok(()));
        assert_eq!(check_all(&[&routes, &windows]), Ok(()));
        fs::write(&grants, "internal: true\n").unwrap();
        let refused = check_all(&[&routes, &windows]).unwrap_err();
        assert_eq!(refused, "1 of 2 manifests have faults");
        let public = "uri: /w\nupstream: http://hms-svc-v\nplugins: [wasm: {window: w}]\n";
        fs::write(&route, public).unwrap();
        let both = Check {
            paths: vec![routes.clone(), windows.clone()],
            routes: "routes".into(),
            grants: None,
            json: false,
            schema: None,
        };
        let found = both.found().unwrap();
        let faults = &found.routes[0].1.faults;
        assert_eq!((faults.len(), faults[0].line), (1, 3));
        fs::write(&grants, "internal: maybe\n").unwrap();
        assert_eq!(check(&windows).unwrap_err(), "1 of 1 manifests have faults");
    }
}
