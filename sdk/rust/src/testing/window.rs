//! A window of a test's own.

use super::deliver::{self, Delivery};
use super::host::{Host, until};
use super::{Request, Setup, TestStore};
use crate::Event;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The window under test, with a store, a log and grants that no other test sees. It is fresh: its
/// store is empty.
#[derive(Debug)]
pub struct Window {
    pub(super) name: String,
}

/// An event that the window has emitted.
#[derive(Debug, Clone, Deserialize)]
pub struct Emitted {
    /// Its place among the window's events: 1, 2, 3.
    pub sequence: u64,
    /// Its type, such as `gov.payment.paid.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub subject: Option<String>,
    data: Option<String>,
}

impl Emitted {
    /// Its data, read as JSON.
    ///
    /// # Panics
    /// If they are none, or not in the shape of `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let data = self.data.as_deref().unwrap_or_default();
        match serde_json::from_str(data) {
            Ok(value) => value,
            Err(error) => panic!("{error}, in the data of {}: {data}", self.kind),
        }
    }
}

impl Window {
    /// A fresh window that is granted nothing.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        Setup::default().start()
    }

    /// A fresh window, of which more is to be said: settings, services, a subscription.
    pub fn with() -> Setup {
        Setup::default()
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    /// A PATCH request.
    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// A request. `path` begins with `/`, and may have a query.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(&self.name, method, path)
    }

    /// A part of its store, by the name with which the window opens it.
    pub fn store(&self, name: &str) -> TestStore<'_> {
        TestStore::new(self, name)
    }

    /// What it has written to standard output and error, a panic's message too. Lines may come a
    /// moment after the answer: [`Window::logged`] waits.
    pub fn logs(&self) -> Vec<String> {
        let log: Value = Host::get()
            .admin
            .get(&format!("/windows/{}/log", self.name));
        let lines = log["lines"].as_array().into_iter().flatten();
        let text = |line: &Value| line["text"].as_str().map(str::to_owned);
        lines.filter_map(text).collect()
    }

    /// Waits for a line of the log with this text.
    ///
    /// # Panics
    /// If there is none.
    pub fn logged(&self, text: &str) -> String {
        until(&format!("a line of the log with '{text}'"), || {
            self.logs().into_iter().find(|line| line.contains(text))
        })
    }

    /// The events that it has emitted, the first 1,000 of them. A timer is among them when it is
    /// due.
    pub fn events(&self) -> Vec<Emitted> {
        #[derive(Deserialize)]
        struct Log {
            events: Vec<Emitted>,
        }
        let path = format!("/windows/{}/events?after=0&limit=1000", self.name);
        Host::get().admin.get::<Log>(&path).events
    }

    /// Delivers an event to the path of [`Setup::receives_at`], as another window's, and waits for
    /// what came of it. An answer after which the host tries again is tried for a second, and
    /// parked then.
    ///
    /// # Panics
    /// If the window has no such path.
    pub fn deliver(&self, event: Event) -> Delivery {
        deliver::deliver(&self.name, event)
    }
}
