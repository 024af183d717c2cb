//! The host's admin API.

use super::answer::Answer;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How to ask it.
pub(super) struct Admin {
    url: String,
    bearer: String,
    agent: ureq::Agent,
    /// API keys, by user and scopes.
    keys: Mutex<BTreeMap<(String, Vec<String>), String>>,
}

/// A client that takes every answer as it is.
pub(super) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        // Not through a proxy of the environment.
        .proxy(None)
        .accept_encoding("")
        .timeout_global(Some(super::host::PATIENCE * 2))
        .build()
        .new_agent()
}

impl Admin {
    pub(super) fn new(url: String, token: &str) -> Self {
        Admin {
            url,
            bearer: format!("Bearer {token}"),
            agent: agent(),
            keys: Mutex::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let request = http::Request::get(format!("{}/readyz", self.url)).body(());
        let answer = request
            .ok()
            .and_then(|request| self.agent.run(request).ok());
        answer.is_some_and(|answer| answer.status() == 200)
    }

    /// Sends a request that must succeed.
    pub(super) fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        let request = http::Request::builder()
            .method(&method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", &self.bearer);
        let answer = Answer::of(&self.agent, request, body);
        let status = answer.status();
        assert!(status < 400, "{method} {path}: {}", answer.text());
        answer
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.send(Method::GET, path, Vec::new()).json()
    }

    /// Puts a text under a name.
    pub(super) fn put(&self, path: &str, text: String) {
        self.send(Method::PUT, path, text.into_bytes());
    }

    /// Deploys a component.
    pub(super) fn deploy(&self, window: &str, component: &[u8]) {
        let path = format!("/windows/{window}?yes=true");
        self.send(Method::PUT, &path, component.to_vec());
    }

    /// A credential of this user.
    pub(super) fn key(&self, user: &str, scopes: &[String]) -> String {
        let mut keys = self
            .keys
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let of = (user.to_owned(), scopes.to_vec());
        let make = || {
            let wanted = json!({ "user": user, "scopes": scopes }).to_string();
            let made: Value = self.send(Method::POST, "/keys", wanted.into()).json();
            made["key"].as_str().unwrap_or_default().to_owned()
        };
        keys.entry(of).or_insert_with(make).clone()
    }
}
