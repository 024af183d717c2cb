//! Route manifests: the list with their faults, and the editor.

use super::{Frame, shown};
use crate::api::Api;
use crate::show::{self, When};
use askama::Template;
use hms_api::{FileState, Problem, RouteDetail, RouteList, RouteStatus};

/// What a new manifest begins with.
const EXAMPLE: &str =
    "uri: /example/**\nupstream: http://hms-svc-example\nstrip-prefix: /example\n";

#[derive(Template)]
#[template(path = "routes.html", blocks = ["live"])]
pub(crate) struct Routes {
    frame: Frame,
    folder_fault: Option<String>,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "route.html", blocks = ["live"])]
pub(crate) struct Editor {
    frame: Frame,
    /// Empty: it is new.
    name: String,
    text: String,
    row: Option<Row>,
}

shown!(Routes, Editor);

struct Row {
    name: String,
    file: String,
    is_live: bool,
    serves: bool,
    uri: String,
    upstream: String,
    plugins: String,
    ejected: Vec<String>,
    since: When,
    faults: Vec<hms_api::Fault>,
}

impl Row {
    fn of(route: RouteStatus) -> Row {
        let stem = route.file.rsplit_once('.').map(|(stem, _)| stem.to_owned());
        let live = route.route.as_ref();
        let ejected = live.into_iter().flat_map(|live| live.targets.iter());
        Row {
            name: stem.unwrap_or_else(|| route.file.clone()),
            is_live: route.state == FileState::Live,
            serves: live.is_some(),
            uri: live.map(|live| live.uri.clone()).unwrap_or_default(),
            upstream: live.map(|live| live.upstream.clone()).unwrap_or_default(),
            plugins: live.map(|live| live.plugins.join(", ")).unwrap_or_default(),
            ejected: ejected
                .filter(|target| target.ejected)
                .map(|target| target.url.clone())
                .collect(),
            since: show::when(route.since),
            faults: route.faults,
            file: route.file,
        }
    }
}

pub(crate) async fn list(api: &Api) -> Result<Routes, Problem> {
    let list: RouteList = api.get("/routes").await?;
    Ok(Routes {
        frame: Frame::of("routes", "routes"),
        folder_fault: list.folder_fault,
        rows: list.routes.into_iter().map(Row::of).collect(),
    })
}

pub(crate) fn new() -> Editor {
    Editor {
        frame: Frame::still("routes"),
        name: String::new(),
        text: EXAMPLE.into(),
        row: None,
    }
}

pub(crate) async fn show(api: &Api, name: &str) -> Result<Editor, Problem> {
    let detail: RouteDetail = api.get(&format!("/routes/{name}")).await?;
    Ok(Editor {
        frame: Frame::of("routes", &format!("routes/{name}")),
        name: name.to_owned(),
        text: detail.manifest.unwrap_or_default(),
        row: Some(Row::of(detail.route)),
    })
}
