//! A request to a window.

use super::Answer;
use super::host::Host;
use http::Method;
use serde::Serialize;

/// A request that a test sends to a [`Window`](super::Window).
#[derive(Debug, Clone)]
#[must_use = "send it by `send`"]
pub struct Request {
    window: String,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    user: Option<String>,
    scopes: Vec<String>,
}

impl Request {
    pub(super) fn new(window: &str, method: Method, path: &str) -> Self {
        Request {
            window: window.to_owned(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            user: None,
            scopes: Vec::new(),
        }
    }

    /// Sends it as this user, whom the gateway has verified. Without it there is no caller.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Gives the user a scope; repeat for more.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Has this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Has this value as its body, as JSON.
    ///
    /// # Panics
    /// If it cannot be JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("invalid JSON: {error}"),
        }
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn send(self) -> Answer {
        let host = Host::get();
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(format!("{}{}", host.gateway, self.path));
        let name = match &self.user {
            Some(user) => {
                let key = host.admin.key(user, &self.scopes);
                request = request.header("x-api-key", key);
                format!("user.{}.test", self.window)
            }
            None => format!("{}.test", self.window),
        };
        request = request.header("host", name);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Answer::of(&host.client, request, self.body)
    }
}
