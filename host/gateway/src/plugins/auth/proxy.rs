//! The proxy for requests to a provider, from the environment: `HTTPS_PROXY`, else `ALL_PROXY`,
//! except for the hosts in `NO_PROXY`. Lower-case names take precedence, as in curl.
//!
//! Hosts on this machine are never requested through a proxy. Only they may serve keys without TLS,
//! so `HTTP_PROXY` is not used.

use hms_core::body::Body;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// The variables that name the proxy, in order of precedence.
const PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

type ToProxy = HttpsConnector<HttpConnector>;

/// The proxy settings of the environment.
#[derive(Clone, Default)]
pub(super) struct Proxies {
    proxy: Option<Proxy>,
    exempt: Vec<String>,
}

/// The proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    variable: &'static str,
    /// Or why it cannot be used. The value may hold a password, so no message contains it.
    client: Result<Client<HttpsConnector<Tunnel<ToProxy>>, Body>, &'static str>,
}

impl Proxies {
    /// From this process's environment. `connect_timeout` bounds the connect to the proxy.
    pub(super) fn from_env(connect_timeout: Duration) -> Self {
        Self::read(|name| std::env::var(name).ok(), connect_timeout)
    }

    /// From `variable`, by name. An empty variable counts as unset.
    pub(super) fn read(
        variable: impl Fn(&str) -> Option<String>,
        connect_timeout: Duration,
    ) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.trim().is_empty());
                Some((*name, value?))
            })
        };
        let exempt = first(&NO_PROXY).map_or_else(Vec::new, |(_, list)| {
            let entries = list.split([',', ' ', '\t']);
            let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
            entries.map(str::to_ascii_lowercase).collect()
        });
        let proxy = first(&PROXY).map(|(variable, value)| Proxy {
            variable,
            client: client(value.trim(), connect_timeout),
        });
        Proxies { proxy, exempt }
    }

    /// The proxy for `uri`, if any.
    pub(super) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        let there = uri.scheme() == Some(&Scheme::HTTPS) && !is_here(uri) && !self.exempts(uri);
        there.then_some(proxy)
    }

    fn exempts(&self, uri: &Uri) -> bool {
        let port = uri.port_u16().unwrap_or(443).to_string();
        let entries = self.exempt.iter().filter_map(|entry| {
            let entry = entry.strip_prefix('*').unwrap_or(entry);
            // An IPv6 address has more colons than one.
            match entry.split_once(':') {
                Some((host, own)) if !own.contains(':') => (own == port).then_some(host),
                _ => Some(entry.trim_matches(['[', ']'])),
            }
        });
        let entries: Vec<&str> = entries.collect();
        // A lone `*` has become empty.
        if entries.contains(&"") {
            return true;
        }
        let matcher = Matcher::builder()
            .https("http://proxy")
            .no(entries.join(","));
        matcher.build().intercept(uri).is_none()
    }
}

impl Proxy {
    /// Sends `request` through a tunnel of the proxy.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let through = |reason: &str| format!("through the proxy of {}: {reason}", self.variable);
        let client = self.client.as_ref().map_err(|reason| through(reason))?;
        let answered = client.request(request).await;
        answered.map_err(|error| through(&innermost(&error)))
    }
}

/// Whether the host is this machine, by its name or address.
fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(loopback)
}

fn client(
    proxy: &str,
    connect_timeout: Duration,
) -> Result<Client<HttpsConnector<Tunnel<ToProxy>>, Body>, &'static str> {
    const ROOTS: &str = "this machine has no certificate authorities for https";
    let intercept = read(proxy).ok_or("it must be http://HOST:PORT or https://HOST:PORT")?;
    // The operator named the proxy, so it may have any address.
    let mut plain = HttpConnector::new();
    plain.set_connect_timeout(Some(connect_timeout));
    plain.set_nodelay(true);
    plain.enforce_http(false);
    let tls = || {
        HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|_| ROOTS)
    };
    let to_proxy = tls()?.https_or_http().enable_http1().wrap_connector(plain);
    let mut tunnel = Tunnel::new(intercept.uri().clone(), to_proxy);
    if let Some(auth) = intercept.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let to_provider = tls()?
        .https_only()
        .enable_all_versions()
        .wrap_connector(tunnel);
    let mut builder = Client::builder(TokioExecutor::new());
    // Occasional fetches do not need a kept connection.
    Ok(builder.pool_max_idle_per_host(0).build(to_provider))
}

/// The proxy's address, its user and its password.
fn read(proxy: &str) -> Option<Intercept> {
    let any = Uri::from_static("https://provider/");
    let intercept = Matcher::builder().https(proxy).build().intercept(&any)?;
    let known = [Scheme::HTTP, Scheme::HTTPS]
        .iter()
        .any(|it| intercept.uri().scheme() == Some(it));
    known.then_some(intercept)
}

/// The innermost cause says what happened; the outer layers only say where.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| value.to_string())
        };
        Proxies::read(find, Duration::from_secs(1))
    }

    fn of(variables: &[(&str, &str)], uri: &str) -> Option<&'static str> {
        let proxies = proxies(variables);
        let proxy = proxies.of(&uri.parse().unwrap())?;
        Some(proxy.variable)
    }

    #[test]
    fn proxy_is_read_from_the_environment_and_lower_case_wins() {
        let away = "https://id.example/keys";
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://p:1")], Some("HTTPS_PROXY")),
            (
                &[("HTTPS_PROXY", "http://p:1"), ("https_proxy", "p:2")],
                Some("https_proxy"),
            ),
            (
                &[("https_proxy", ""), ("ALL_PROXY", "p:1")],
                Some("ALL_PROXY"),
            ),
            (&[("HTTP_PROXY", "p:1"), ("http_proxy", "p:1")], None),
            (&[("HTTPS_PROXY", " ")], None),
        ] {
            assert_eq!(of(variables, away), expected, "{variables:?}");
        }
        for here in [
            "https://localhost/keys",
            "https://127.0.0.1:8443/keys",
            "https://[::1]/keys",
            "https://[::ffff:127.0.0.1]/keys",
            "http://127.0.0.1/keys",
        ] {
            assert_eq!(of(&[("HTTPS_PROXY", "p:1")], here), None, "{here}");
        }
    }

    #[test]
    fn no_proxy_hosts_are_reached_directly() {
        for (list, direct, through) in [
            ("*", &["https://a.example", "https://10.0.0.1"][..], &[][..]),
            (
                "id.example, .town.org",
                &[
                    "https://id.example",
                    "https://ID.example:8443",
                    "https://x.town.org",
                    "https://a.id.example",
                ],
                &[
                    "https://id.example.org",
                    "https://notid.example",
                    "https://nottown.org",
                ],
            ),
            (
                "*.town.org",
                &["https://x.town.org"],
                &["https://a.example"],
            ),
            (
                "10.0.0.0/8 fd00::/8,192.0.2.7",
                &[
                    "https://10.1.2.3",
                    "https://[fd00::1]",
                    "https://192.0.2.7:8443",
                ],
                &[
                    "https://11.0.0.1",
                    "https://192.0.2.8",
                    "https://10.example",
                ],
            ),
            (
                "id.example:8443",
                &["https://id.example:8443"],
                &["https://id.example"],
            ),
            (",", &[], &["https://id.example"]),
        ] {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", list)];
            for uri in direct {
                assert_eq!(of(&variables, uri), None, "{list}: {uri}");
            }
            for uri in through {
                assert!(of(&variables, uri).is_some(), "{list}: {uri}");
            }
        }
    }

    #[test]
    fn unusable_proxy_is_reported_without_its_password() {
        for (proxy, fits) in [
            ("http://p:3128", true),
            ("p:3128", true),
            ("https://user:pa%40ss@p:3128/", true),
            ("socks5://p:1080", false),
            ("ftp://user:secret@p", false),
            ("http://", false),
            ("not a proxy", false),
        ] {
            let read = read(proxy);
            assert_eq!(read.is_some(), fits, "{proxy}");
            let variables = [("HTTPS_PROXY", proxy)];
            let proxies = proxies(&variables);
            let found = proxies
                .of(&Uri::from_static("https://id.example/keys"))
                .unwrap();
            if let Err(reason) = &found.client {
                assert!(!reason.contains("secret") && !fits, "{proxy}: {reason}");
            }
        }
        let auth = read("http://user:pa%40ss@p:3128").unwrap();
        assert_eq!(auth.basic_auth().unwrap(), "Basic dXNlcjpwYUBzcw==");
    }
}
