//! The pages: which there are, and how each is made of answers of the admin API.
//!
//! A page is a template. Its block `live` is sent again whenever it changes ([`crate::live`]).

mod events;
mod host;
mod plain;
mod requests;
mod routes;
mod sorting;
mod store;
mod window;
mod windows;

pub(crate) use plain::{failed, login, missing};

use crate::Dashboard;
use crate::api::Api;
use hms_api::Problem;

/// A page, as its path and query say.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Windows(windows::Shown),
    Deploy,
    Window(String),
    Log(String),
    Limits(String),
    Grants(String),
    Events(String),
    Store(String, store::Wanted),
    Routes,
    NewRoute,
    Route(String),
    Keys,
    Requests(requests::Wanted),
    Request(String),
    Host,
}

/// What a live page gets beside its HTML.
pub(crate) enum Feed {
    /// Points of a window, or of the host.
    Series(Option<String>),
    /// Lines of a window's log.
    Log(String),
}

/// A page that is filled in.
pub(crate) trait Shown: Send {
    fn whole(&self) -> askama::Result<String>;

    /// Its live part.
    fn live(&self) -> askama::Result<String>;
}

/// What the frame around every page needs to know.
pub(crate) struct Frame {
    /// The part of the navigation that the page belongs to.
    pub(crate) section: &'static str,
    /// Where its live part comes from. Empty: nothing of it changes by itself.
    pub(crate) live: String,
}

impl Frame {
    fn of(section: &'static str, page: &str) -> Self {
        Frame {
            section,
            live: format!("/ui/live/{page}"),
        }
    }

    /// Of a page of which nothing changes by itself.
    fn still(section: &'static str) -> Self {
        Frame {
            section,
            live: String::new(),
        }
    }
}

impl Page {
    /// The page at a path below `/ui/`.
    pub(crate) fn read(path: &str, query: &str) -> Option<Page> {
        let segments: Vec<&str> = path.split('/').collect();
        let name = |name: &str| plain_name(name).then(|| name.to_owned());
        Some(match segments.as_slice() {
            [""] => Page::Windows(windows::Shown::read(query)),
            ["deploy"] => Page::Deploy,
            ["windows", window] => Page::Window(name(window)?),
            ["windows", window, "log"] => Page::Log(name(window)?),
            ["windows", window, "limits"] => Page::Limits(name(window)?),
            ["windows", window, "grants"] => Page::Grants(name(window)?),
            ["windows", window, "events"] => Page::Events(name(window)?),
            ["windows", window, "store"] => Page::Store(name(window)?, store::Wanted::read(query)),
            ["routes"] => Page::Routes,
            ["new-route"] => Page::NewRoute,
            ["routes", route] => Page::Route(name(route)?),
            ["keys"] => Page::Keys,
            ["requests"] => Page::Requests(requests::Wanted::read(query)),
            ["requests", id] => Page::Request(name(id)?),
            ["host"] => Page::Host,
            _ => return None,
        })
    }

    pub(crate) fn feed(&self) -> Option<Feed> {
        match self {
            Page::Window(name) => Some(Feed::Series(Some(name.clone()))),
            Page::Host => Some(Feed::Series(None)),
            Page::Log(name) => Some(Feed::Log(name.clone())),
            _ => None,
        }
    }
}

/// Whether a segment needs no escaping in the path of a request: what it names is asked for as it
/// is. Whether there is such a thing is for the admin API to say.
fn plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

impl Dashboard {
    /// Fills in a page.
    ///
    /// # Errors
    /// What the admin API refused.
    pub(crate) async fn render(&self, page: &Page, api: &Api) -> Result<Box<dyn Shown>, Problem> {
        Ok(match page {
            Page::Windows(shown) => Box::new(windows::page(self, api, shown).await?),
            Page::Deploy => Box::new(window::Deploy::new()),
            Page::Window(name) => Box::new(window::page(self, api, name).await?),
            Page::Log(name) => Box::new(window::log(api, name).await?),
            Page::Limits(name) => Box::new(window::limits(api, name).await?),
            Page::Grants(name) => Box::new(window::grants(api, name).await?),
            Page::Events(name) => Box::new(events::page(api, name).await?),
            Page::Store(name, wanted) => Box::new(store::page(api, name, wanted).await?),
            Page::Routes => Box::new(routes::list(api).await?),
            Page::NewRoute => Box::new(routes::new()),
            Page::Route(name) => Box::new(routes::show(api, name).await?),
            Page::Keys => Box::new(host::keys(api).await?),
            Page::Requests(wanted) => Box::new(requests::list(api, wanted).await?),
            Page::Request(id) => Box::new(requests::show(api, id).await?),
            Page::Host => Box::new(host::page(self, api).await?),
        })
    }
}

/// Implements [`Shown`] for a template with a block `live`.
macro_rules! shown {
    ($($name:ty),*) => {
        $(impl $crate::pages::Shown for $name {
            fn whole(&self) -> askama::Result<String> {
                askama::Template::render(self)
            }

            fn live(&self) -> askama::Result<String> {
                askama::Template::render(&self.as_live())
            }
        })*
    };
}
use shown;

/// The navigation: section, address, title.
pub(crate) const SECTIONS: [(&str, &str, &str); 5] = [
    ("windows", "/ui/", "Windows"),
    ("routes", "/ui/routes", "Routes"),
    ("requests", "/ui/requests", "Requests"),
    ("keys", "/ui/keys", "Keys"),
    ("host", "/ui/host", "Host"),
];
