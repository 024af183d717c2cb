//! Where a JWKS comes from: a file, a URL, or an OpenID provider's discovery document.

use super::discovery;
use super::proxy::Proxies;
use crate::upstream::refusal;
use hms_core::body::{self, Body};
use hms_disk::files::read_at_most;
use hms_net::client::{ClientSettings, HttpClient, Roots, Screen, SendError};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Bytes of a JWKS, and of a provider's configuration. Real ones have some thousand.
const MAX_JWKS_BYTES: u64 = 1024 * 1024;

/// Time for the whole fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to connect to a provider.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP clients that fetch keys.
#[derive(Clone)]
pub struct KeyClients {
    /// For URLs named by the operator, which may have any address.
    named: HttpClient,
    /// For URLs in a provider's document: only the addresses that routes may lead to.
    found: HttpClient,
    screen: Screen,
    proxies: Proxies,
}

/// Who named the URL of the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Operator,
    Document,
}

impl KeyClients {
    /// A document may also lead into the networks `allowed`.
    pub fn new(allowed: &[IpNet]) -> Self {
        Self::through(allowed, Proxies::from_env(CONNECT_TIMEOUT))
    }

    fn through(allowed: &[IpNet], proxies: Proxies) -> Self {
        let screen = Screen::public_and(allowed);
        let roots = Roots::of_system();
        let client = |screen| {
            let settings = ClientSettings::new(CONNECT_TIMEOUT, screen, roots.clone());
            HttpClient::new(settings)
        };
        KeyClients {
            named: client(Screen::open()),
            found: client(screen.clone()),
            screen,
            proxies,
        }
    }

    async fn send(&self, by: By, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let client = match by {
            By::Operator => &self.named,
            By::Document => &self.found,
        };
        let Some(proxy) = self.proxies.of(request.uri()) else {
            let sent = client.send(request).await;
            return sent.map_err(|error| match error {
                SendError::NotAllowed(reason) => refusal(&reason),
                other => other.to_string(),
            });
        };
        // The proxy resolves names by its own rules. Literal addresses must follow ours.
        if by == By::Document {
            let host = request.uri().host().unwrap_or_default();
            let checked = self.screen.check_host(host);
            checked.map_err(|refused| refusal(&refused))?;
        }
        proxy.send(request).await
    }
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A JWK Set on this machine.
    File(PathBuf),
    /// A JWK Set over HTTP or HTTPS.
    Url(Uri),
    /// OpenID Connect Discovery 1.0 at this issuer.
    Discovery(String),
}

impl JwksSource {
    /// Parses an option: a URL if it begins with `http://` or `https://`, else a file.
    ///
    /// # Errors
    ///
    /// A sentence, for an invalid URL, and for `http://` beyond this machine: anybody on the path
    /// could change the keys.
    pub fn parse(text: &str) -> Result<JwksSource, String> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(JwksSource::File(text.into()));
        }
        key_url(text).map(JwksSource::Url)
    }

    /// The keys that the OpenID provider `issuer` publishes.
    ///
    /// # Errors
    ///
    /// A sentence, if `issuer` cannot be the URL of a provider.
    pub fn discover(issuer: &str) -> Result<JwksSource, String> {
        discovery::configuration_url(issuer)?;
        Ok(JwksSource::Discovery(issuer.to_string()))
    }

    /// What to check if the keys are unavailable, for the log.
    pub fn advice(&self) -> &'static str {
        match self {
            JwksSource::File(_) => {
                "check the path in --jwks, or 'jwks' in the issuers file, and that the host may read the file"
            }
            JwksSource::Url(_) => {
                "check the address in --jwks, or 'jwks' in the issuers file, and that this machine can reach it"
            }
            JwksSource::Discovery(_) => {
                "check the issuer in --oidc, or 'issuer' in the issuers file, character by character, and that this machine can reach it"
            }
        }
    }

    /// The current key set. `reading` is held while a thread reads the file.
    ///
    /// # Errors
    ///
    /// Why it is unavailable.
    pub async fn fetch(
        &self,
        clients: &KeyClients,
        reading: &Arc<Mutex<()>>,
    ) -> Result<Vec<u8>, String> {
        let fetch = async {
            match self {
                JwksSource::File(path) => read(path, reading).await,
                JwksSource::Url(uri) => get(clients, By::Operator, uri).await,
                JwksSource::Discovery(issuer) => {
                    let uri = discovery::configuration_url(issuer)?;
                    let configuration = get(clients, By::Operator, &uri)
                        .await
                        .map_err(|reason| format!("{uri}: {reason}"))?;
                    let keys = discovery::jwks_uri(issuer, &configuration)?;
                    // The operator named this server. Any other one is named by the provider, and
                    // must not be something that only this machine or its network can reach.
                    let by = match same_origin(&keys, &uri) {
                        true => By::Operator,
                        false => By::Document,
                    };
                    get(clients, by, &keys)
                        .await
                        .map_err(|reason| format!("its jwks_uri {keys}: {reason}"))
                }
            }
        };
        tokio::time::timeout(FETCH_TIMEOUT, fetch)
            .await
            .map_err(|_| format!("it took more than {} s", FETCH_TIMEOUT.as_secs()))?
    }
}

/// A URL that may serve keys: https, or http on this machine.
pub(super) fn key_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("'{text}' is not a valid URL: {error}"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(uri),
        Some("http") if here => Ok(uri),
        Some("http") => Err(format!(
            "'{text}' must be https: keys fetched in the clear prove nothing"
        )),
        _ => Err(format!("'{text}' is not an https URL")),
    }
}

/// Whether both have the same server: scheme, host and port.
fn same_origin(one: &Uri, other: &Uri) -> bool {
    let origin = |uri: &Uri| {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        (https, host, port)
    };
    origin(one) == origin(other)
}

/// Reads the file on a thread that may block, one at a time: a disk that hangs, or a pipe without a
/// writer, blocks that thread indefinitely.
async fn read(path: &Path, reading: &Arc<Mutex<()>>) -> Result<Vec<u8>, String> {
    let Ok(held) = reading.clone().try_lock_owned() else {
        return Err("the last try to read it has not ended".into());
    };
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let _held = held;
        read_at_most(&path, MAX_JWKS_BYTES)
    });
    let read = read.await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}

/// Redirects are not followed: only the place that the operator named is trusted.
async fn get(clients: &KeyClients, by: By, uri: &Uri) -> Result<Vec<u8>, String> {
    let request = Request::get(uri.clone())
        .header(
            http::header::ACCEPT,
            "application/jwk-set+json, application/json",
        )
        .body(body::empty())
        .map_err(|error| error.to_string())?;
    let response = clients.send(by, request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("it was answered with {}", response.status()));
    }
    let collected = Limited::new(response.into_body(), MAX_JWKS_BYTES as usize)
        .collect()
        .await;
    Ok(collected
        .map_err(|error| error.to_string())?
        .to_bytes()
        .to_vec())
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwksSource::File(path) => write!(f, "{}", path.display()),
            JwksSource::Url(uri) => write!(f, "{uri}"),
            JwksSource::Discovery(issuer) => write!(f, "discovery at {issuer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn discovered_address_obeys_the_same_rule_behind_a_proxy() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let proxies = Proxies::read(
            |name| (name == "HTTPS_PROXY").then(|| proxy.clone()),
            CONNECT_TIMEOUT,
        );
        let clients = KeyClients::through(&["10.1.0.0/16".parse().unwrap()], proxies);
        let asked = tokio::spawn(async move {
            let mut asked = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                asked += 1;
                let _ = stream.write_all(b"HTTP/1.1 403 No\r\n\r\n").await;
                if asked == 3 {
                    break;
                }
            }
        });
        for (by, host, passes) in [
            (By::Document, "169.254.169.254", false),
            (By::Document, "[::ffff:10.2.0.1]", false),
            (By::Document, "10.1.2.3", true),
            (By::Document, "keys.example", true),
            (By::Operator, "169.254.169.254", true),
        ] {
            let uri = format!("https://{host}/keys").parse().unwrap();
            let reason = get(&clients, by, &uri).await.unwrap_err();
            let expected = match passes {
                true => "through the proxy of HTTPS_PROXY: tunnel error",
                false => "not an address of the public internet",
            };
            assert!(reason.contains(expected), "{host}: {reason}");
        }
        asked.await.unwrap();
    }
}
