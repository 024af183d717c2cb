//! The store of a window under test.

use super::host::Host;
use super::{Answer, Window, helper};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A part of the store of a [`Window`]. It is reached by a helper that takes the window's place for
/// a moment, so use it between requests, not beside them.
#[derive(Debug)]
pub struct TestStore<'a> {
    window: &'a Window,
    part: String,
}

impl<'a> TestStore<'a> {
    pub(super) fn new(window: &'a Window, part: &str) -> Self {
        TestStore {
            window,
            part: part.to_owned(),
        }
    }

    /// The value at `key`, if there is one, read as JSON.
    ///
    /// # Panics
    /// If it is not in the shape of `T`.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let bytes = self.get_bytes(key)?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => panic!("'{key}': {error}: {}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// The bytes at `key`, if there are any.
    pub fn get_bytes(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask(Method::GET, Some(key), Vec::new());
        (answer.status() == 200).then(|| answer.bytes().to_vec())
    }

    /// Sets `key` to a value, as JSON.
    ///
    /// # Panics
    /// If it cannot be JSON, or the store refuses it.
    #[track_caller]
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.set_bytes(key, bytes),
            Err(error) => panic!("'{key}': {error}"),
        }
    }

    /// Sets `key` to bytes.
    ///
    /// # Panics
    /// If the store refuses it.
    pub fn set_bytes(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.ask(Method::PUT, Some(key), bytes.into());
    }

    /// Removes `key`, if it exists.
    pub fn delete(&self, key: &str) {
        self.ask(Method::DELETE, Some(key), Vec::new());
    }

    /// All keys, in the order of their bytes.
    pub fn keys(&self) -> Vec<String> {
        self.ask(Method::GET, None, Vec::new()).json()
    }

    /// Asks the helper, in the window's place.
    fn ask(&self, method: Method, key: Option<&str>, body: Vec<u8>) -> Answer {
        let host = Host::get();
        let name = &self.window.name;
        let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut uri = format!(
            "{}/hms-testing/store?part={}",
            host.gateway,
            text(&self.part)
        );
        if let Some(key) = key {
            uri.push_str(&format!("&key={}", text(key)));
        }
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", format!("{name}.test"));
        host.admin.deploy(name, helper::component());
        let answer = Answer::of(&host.client, request, body);
        host.admin.deploy(name, &host.component);
        let status = answer.status();
        assert!(
            status < 300 || status == 404,
            "the store: {}",
            answer.text()
        );
        answer
    }
}
