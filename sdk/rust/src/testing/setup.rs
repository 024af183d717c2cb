//! What a window of a test is granted.

use super::deliver::{EMITTER, MARK, SUBSCRIPTION};
use super::host::{Host, made};
use super::{Service, Window};
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;

/// A window that is about to be: made by [`Window::with`], and started by [`Setup::start`].
///
/// ```no_run
/// use hms_window::testing::{Reply, Service, Window};
///
/// let card = Service::new(|call| match call.path() {
///     "/v1/charges" => Reply::json(201, &serde_json::json!({ "id": "ch_1" })),
///     _ => Reply::empty(404),
/// });
/// let window = Window::with().config("card-url", card.url()).service(&card).start();
/// ```
#[derive(Debug, Default)]
#[must_use = "start it by `start`"]
pub struct Setup {
    config: Map<String, Value>,
    secrets: Vec<(String, String)>,
    services: Vec<String>,
    receives_at: Option<String>,
    behind: Option<String>,
}

impl Setup {
    /// Sets what [`config`](crate::config) reads.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into().into());
        self
    }

    /// Sets what [`secret`](crate::secret) reads: it is revealed.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.push((name.into(), value.into()));
        self
    }

    /// Lets the window send any request to this service of the test.
    pub fn service(mut self, service: &Service) -> Self {
        self.services.push(service.url());
        self
    }

    /// Subscribes the window to what [`Window::deliver`] delivers, at this path.
    pub fn receives_at(mut self, path: impl Into<String>) -> Self {
        self.receives_at = Some(path.into());
        self
    }

    /// Makes the window a middleware in front of this service: requests go to the window, and what
    /// it passes on to the service.
    pub fn in_front_of(mut self, service: &Service) -> Self {
        self.behind = Some(service.url());
        self
    }

    /// Deploys it.
    ///
    /// # Panics
    /// If the host refuses something, with what it says.
    pub fn start(self) -> Window {
        let host = Host::get();
        if self.receives_at.is_some() {
            super::deliver::ready();
        }
        let name = host.window();
        if let Some(grants) = self.grants(&name) {
            let path = format!("/windows/{name}/grants?yes=true");
            // JSON is YAML.
            host.admin.put(&path, grants.to_string());
        }
        if let Some(service) = &self.behind {
            lead_to(&name, Some(service));
        }
        if self.receives_at.is_some() {
            super::deliver::subscribed(&name);
        }
        Window { name }
    }

    fn grants(&self, name: &str) -> Option<Value> {
        let host = Host::get();
        let mut grants = Map::new();
        if !self.config.is_empty() {
            grants.insert("config".into(), self.config.clone().into());
        }
        if !self.services.is_empty() {
            let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
            let entry =
                |url: &String| json!({ "to": url, "methods": methods, "private": ["127.0.0.0/8"] });
            let entries: Vec<Value> = self.services.iter().map(entry).collect();
            grants.insert("outbound".into(), entries.into());
        }
        if !self.secrets.is_empty() {
            let (mut files, mut names) = (Map::new(), Vec::new());
            for (secret, value) in &self.secrets {
                let file = format!("{name}-{secret}");
                let path = host.file(&file);
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut opened = made(options.open(&path), &path);
                made(opened.write_all(value.as_bytes()), &path);
                files.insert(secret.clone(), json!({ "file": file }));
                names.push(secret.clone());
            }
            grants.insert("secrets".into(), files.into());
            grants.insert("reveal".into(), names.into());
        }
        if let Some(to) = &self.receives_at {
            let subscription = json!({
                "from": [EMITTER],
                "filters": [{ "exact": { MARK: name } }],
                "to": to,
                "retry": { "first": "100ms", "max": "100ms", "for": "1s" },
            });
            let mut all = Map::new();
            all.insert(SUBSCRIPTION.into(), subscription);
            grants.insert("subscriptions".into(), all.into());
        }
        (!grants.is_empty()).then(|| grants.into())
    }
}

/// Has requests for the hosts `NAME.test`, and `user.NAME.test` for those with a caller, reach the
/// window, or go through it to a service.
pub(super) fn lead_to(name: &str, through_to: Option<&str>) {
    for (file, at, with_user) in [
        (name.to_owned(), format!("{name}.test"), false),
        (format!("{name}-user"), format!("user.{name}.test"), true),
    ] {
        let mut plugins = Vec::new();
        if with_user {
            plugins.push(json!("auth"));
        }
        let upstream = match through_to {
            Some(url) => {
                plugins.push(json!({ "wasm": { "window": name } }));
                url.to_owned()
            }
            None => format!("http://hms-svc-{name}"),
        };
        let route = json!({
            "uri": "/**",
            "hosts": [at],
            "upstream": upstream,
            "strip-prefix": false,
            "plugins": plugins,
        });
        Host::get()
            .admin
            .put(&format!("/routes/{file}"), route.to_string());
    }
}
