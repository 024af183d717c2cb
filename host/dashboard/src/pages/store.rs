//! The keys of a window's store. Values are asked for one by one, by the page's script.

use super::{Frame, shown};
use crate::api::Api;
use askama::Template;
use hms_api::{Problem, StoreKeys};

/// Keys of a page. 100.
const SHOWN: usize = 100;

/// Which keys are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    bucket: String,
    after: String,
}

impl Wanted {
    pub(crate) fn read(query: &str) -> Self {
        let mut wanted = Wanted::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "bucket" => wanted.bucket = value.into_owned(),
                "after" => wanted.after = value.into_owned(),
                _ => {}
            }
        }
        wanted
    }
}

#[derive(Template)]
#[template(path = "store.html", blocks = ["live"])]
pub(crate) struct Store {
    frame: Frame,
    name: String,
    tab: &'static str,
    bucket: String,
    keys: Vec<String>,
    is_first: bool,
    /// The query of the next page, if there is one.
    next: Option<String>,
}

shown!(Store);

pub(crate) async fn page(api: &Api, name: &str, wanted: &Wanted) -> Result<Store, Problem> {
    let query = |after: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("bucket", &wanted.bucket);
        if !after.is_empty() {
            query.append_pair("after", after);
        }
        query.finish()
    };
    let path = format!(
        "/windows/{name}/store?limit={SHOWN}&{}",
        query(&wanted.after)
    );
    let list: StoreKeys = api.get(&path).await?;
    let last = list.keys.last().filter(|_| list.more);
    Ok(Store {
        frame: Frame::still("windows"),
        name: name.to_owned(),
        tab: "/store",
        next: last.map(|last| query(last)),
        bucket: list.bucket,
        keys: list.keys,
        is_first: wanted.after.is_empty(),
    })
}
