//! What a host says of itself on stdout when it is open.

use super::serve::Folders;
use hms_api::LiveRoute;
use hms_core::printable::Printable;
use hms_net::client::Screen;
use hms_telemetry::LogFormat;
use hms_windows::Registry;
use hyper::Uri;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// What is open where, and what to try next.
pub(super) struct Banner {
    pub windows: Arc<Registry>,
    /// Base URLs.
    pub gateway: String,
    pub admin: String,
    pub data: PathBuf,
    pub routes: PathBuf,
    /// Whether tokens are signed with the secret in the data folder.
    pub dev_secret: bool,
    /// Whose routes can be tried.
    pub folders: Folders,
    /// Which addresses of services can be asked.
    pub upstreams: Screen,
}

/// One of the windows of this repository, with requests that show what they do.
const EXAMPLE: &str = "payments";

/// Where the first of them is.
const EXAMPLE_PATH: &str = "/api/v1/payments";

/// What the upstream of a route begins with if it is a window and no service.
const WINDOW: &str = "http://hms-svc-";

/// Routes that are told to try.
const MAX_ROUTES: usize = 5;

impl Banner {
    /// Says it, as it is now: for people, or as one object where the log is JSON.
    pub(super) fn print(&self) {
        match hms_telemetry::format() {
            Some(LogFormat::Json) => hms_telemetry::print_json(&self.json()),
            _ => hms_telemetry::print(&self.text()),
        }
    }

    fn json(&self) -> Value {
        let windows = self.windows.statuses().into_iter().map(|status| {
            let number = status.live.map_or(0, |release| release.number);
            json!({ "name": status.name, "release": number, "state": status.state })
        });
        json!({
            "message": format!("hms {} is open", env!("CARGO_PKG_VERSION")),
            "gateway": self.gateway,
            "admin": self.admin,
            "data": self.data.display().to_string(),
            "routes": self.routes.display().to_string(),
            "windows": windows.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("hms {} is open\n", env!("CARGO_PKG_VERSION"));
        text.push_str(&format!("  gateway  {}\n", self.gateway));
        text.push_str(&format!("  admin    {}\n", self.admin));
        text.push_str(&format!("  data     {}\n", Printable(self.data.display())));
        text.push_str(&format!(
            "  routes   {}\n",
            Printable(self.routes.display())
        ));
        for status in self.windows.statuses() {
            let number = status.live.map_or(0, |release| release.number);
            text.push_str(&format!(
                "  window   {} release {number} {}\n",
                status.name, status.state
            ));
        }
        text.push_str(&self.to_try());
        text
    }

    fn to_try(&self) -> String {
        let windows = self.windows.statuses();
        let is_example = |route: &LiveRoute| route.uri.starts_with(EXAMPLE_PATH);
        let example = windows.iter().any(|window| window.name == EXAMPLE)
            && self.folders.routes().iter().any(is_example);
        match (windows.is_empty(), example) {
            (true, _) => self.first_window(),
            (_, true) => self.examples_to_try(),
            _ => self.routes_to_try(),
        }
    }

    /// What to do on a host on which nothing is yet.
    fn first_window(&self) -> String {
        let admin = self.admin.trim_start_matches("http://");
        let data = Printable(self.data.display());
        let hms = program();
        format!(
            "\nno window is deployed yet:\n  \
             {hms} new NAME          makes the folder of one; in it, `{hms} build --release`\n  \
             {hms} deploy FILE.wasm --admin {admin} --data {data}\n"
        )
    }

    /// The routes of an author's own windows.
    fn routes_to_try(&self) -> String {
        let data = Printable(self.data.display());
        let mut text = String::from("\nto try:\n");
        let mut routes = self.folders.routes();
        routes.truncate(MAX_ROUTES);
        let asks = |route: &LiveRoute| route.plugins.iter().any(|plugin| plugin == "auth");
        if routes.iter().any(asks) {
            let scopes = self.folders.scopes().into_iter();
            let scopes: String = scopes.map(|scope| format!(" --scope {scope}")).collect();
            text.push_str(&match self.dev_secret {
                true => format!(
                    "  TOKEN=$({} token --data {data} --user alice{scopes})\n",
                    program()
                ),
                false => "  TOKEN=…    # from your identity provider\n".into(),
            });
        }
        for route in &routes {
            let token = match asks(route) {
                true => " -H \"Authorization: Bearer $TOKEN\"",
                false => "",
            };
            let gateway = &self.gateway;
            let path = route.uri.trim_end_matches("/**");
            let path = if path.is_empty() { "/" } else { path };
            text.push_str(&format!(
                "  curl{token}{}{} {gateway}{path}{}\n",
                host(route),
                method(route),
                self.needs(route)
            ));
        }
        if routes.is_empty() {
            text.push_str("  no route leads to a window yet: write routes/NAME.yaml beside it\n");
        }
        text
    }

    /// What the services of a route need before it can be tried.
    fn needs(&self, route: &LiveRoute) -> String {
        let targets: Vec<&str> = match route.targets.is_empty() {
            true => vec![&route.upstream],
            false => route.targets.iter().map(|target| &*target.url).collect(),
        };
        if targets.iter().any(|target| target.starts_with(WINDOW)) {
            return String::new();
        }
        let refused: Option<Vec<String>> = targets.iter().map(|it| self.refused(it)).collect();
        match refused.as_deref() {
            Some([host, ..]) => format!(
                "    # asks {}: refused without --upstream-allow {host}",
                route.upstream
            ),
            _ => format!("    # asks {}, which has to run", route.upstream),
        }
    }

    /// The address of a service that may not be asked.
    fn refused(&self, service: &str) -> Option<String> {
        let uri: Uri = service.parse().ok()?;
        let host = match uri.host()?.to_ascii_lowercase() {
            host if host == "localhost" => "127.0.0.1".to_owned(),
            host => host.trim_matches(['[', ']']).to_owned(),
        };
        let is_refused = self.upstreams.check_host(&host).is_err();
        is_refused.then_some(host)
    }

    fn examples_to_try(&self) -> String {
        let (gateway, admin) = (&self.gateway, &self.admin);
        let data = Printable(self.data.display());
        let hms = program();
        let mut text = String::from("\nto try:\n");
        if self.dev_secret {
            text.push_str(&format!(
                "  TOKEN=$({hms} token --data {data} --user alice --scope payments.write --scope payments.read \\\n\
                 \x20                  --scope docs.write --scope docs.read)\n"
            ));
        } else {
            text.push_str("  TOKEN=…    # from your identity provider\n");
        }
        text.push_str(&format!(
            "  curl -H \"Authorization: Bearer $TOKEN\" -d '{{\"amount\":42,\"purpose\":\"FOIA copy fee\"}}' \\\n\
             \x20      {gateway}/api/v1/payments\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" -F \"file=@FILE\" {gateway}/api/v1/docs\n\
             \x20 {hms} deploy FILE.wasm --admin {} --data {data}\n\
             \x20 curl -X PUT -H \"Authorization: Bearer $(cat {data}/admin.token)\" --data-binary @FILE.wasm \\\n\
             \x20      {admin}/windows/NAME\n",
            admin.trim_start_matches("http://"),
        ));
        text
    }
}

/// How `curl` asks with a method of the route: GET if that may be.
fn method(route: &LiveRoute) -> String {
    let gets = route.methods.is_empty() || route.methods.iter().any(|one| one == "GET");
    match route.methods.first().map(String::as_str) {
        Some("HEAD") if !gets => " -I".into(),
        Some(method) if !gets => format!(" -X {method}"),
        _ => String::new(),
    }
}

/// How `curl` asks for a host of the route, if it is for certain ones only.
fn host(route: &LiveRoute) -> String {
    let host = route.hosts.first();
    host.map_or_else(String::new, |host| {
        format!(" -H 'Host: {}'", host.replacen('*', "www", 1))
    })
}

/// As whoever started it called it.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "hms".into())
}
