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

/// The windows of this repository, with requests that show what they do.
const EXAMPLE: &str = "payments";

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
        let example = windows.iter().any(|window| window.name == EXAMPLE);
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
            let gets = route.methods.is_empty() || route.methods.iter().any(|one| one == "GET");
            let method = match route.methods.first() {
                Some(method) if !gets => format!(" -X {method}"),
                _ => String::new(),
            };
            let path = route.uri.trim_end_matches("/**");
            let path = if path.is_empty() { "/" } else { path };
            let needs = match route.upstream.starts_with(WINDOW) || !route.targets.is_empty() {
                true => String::new(),
                false => self.needs(&route.upstream),
            };
            let gateway = &self.gateway;
            text.push_str(&format!("  curl{token}{method} {gateway}{path}{needs}\n"));
        }
        if routes.is_empty() {
            text.push_str("  no route leads to a window yet: write routes/NAME.yaml beside it\n");
        }
        text
    }

    /// What a route to that service needs before it can be tried.
    fn needs(&self, service: &str) -> String {
        let uri: Option<Uri> = service.parse().ok();
        let host = match uri.as_ref().and_then(Uri::host).unwrap_or_default() {
            "localhost" => "127.0.0.1",
            host => host.trim_matches(['[', ']']),
        };
        match self.upstreams.check_host(host) {
            Ok(()) => format!("    # asks {service}, which has to run"),
            Err(_) => format!("    # asks {service}: refused without --upstream-allow {host}"),
        }
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

/// As whoever started it called it.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "hms".into())
}
