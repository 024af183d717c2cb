//! The keys of a window's store. Values are asked for one by one, by the page's script.

use super::{Frame, shown};
use crate::api::Api;
use askama::Template;
use hms_api::{Problem, StoreBuckets, StoreKeys};

/// Keys, and buckets, of a page. 100.
const SHOWN: usize = 100;

/// Which keys are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    bucket: Option<String>,
    after: String,
}

impl Wanted {
    pub(crate) fn read(query: &str) -> Self {
        let mut wanted = Wanted::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "bucket" => wanted.bucket = Some(value.into_owned()),
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
    buckets: Vec<Bucket>,
    more_buckets: bool,
    keys: Vec<String>,
    is_first: bool,
    /// The query of the next page, if there is one.
    next: Option<String>,
}

shown!(Store);

struct Bucket {
    name: String,
    /// Of the page with its keys.
    query: String,
    is_shown: bool,
}

/// The keys of the bucket that is asked for, or else of the first.
pub(crate) async fn page(api: &Api, name: &str, wanted: &Wanted) -> Result<Store, Problem> {
    let buckets = format!("/windows/{name}/store/buckets?limit={SHOWN}");
    let StoreBuckets { buckets, more } = api.get(&buckets).await?;
    let first = buckets.first().cloned().unwrap_or_default();
    let bucket = wanted.bucket.clone().unwrap_or(first);
    let of_bucket = |bucket: &str, after: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("bucket", bucket);
        if !after.is_empty() {
            query.append_pair("after", after);
        }
        query.finish()
    };
    let query = |after: &str| of_bucket(&bucket, after);
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
        buckets: buckets
            .into_iter()
            .map(|name| Bucket {
                query: of_bucket(&name, ""),
                is_shown: name == bucket,
                name,
            })
            .collect(),
        more_buckets: more,
        bucket: list.bucket,
        keys: list.keys,
        is_first: wanted.after.is_empty(),
    })
}
