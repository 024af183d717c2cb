//! The client of one grant: what it may reach, whom it believes, and what it shows.

use hms_grants::{OutboundGrant, read_secret};
use hms_net::client::{
    ClientSettings, Connections, HttpClient, Identity, OwnListeners, Resolve, Roots, Screen,
};
use hms_net::pem::Pem;
use http::uri::Scheme;
use prometheus_client::metrics::counter::Counter;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Until there is a connection, all addresses of a name together; as long again for TLS. A third
/// of what a request may take by default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections for each host and lane.
const MAX_IDLE_PER_HOST: usize = 8;

/// Bytes of a file of certificates: some thousand of them.
const MAX_PEM: u64 = 4 << 20;

/// What all clients have in common.
pub(crate) struct Clients {
    pub(crate) folder: PathBuf,
    pub(crate) own_listeners: OwnListeners,
    /// Read at the first call, because that takes some milliseconds.
    pub(crate) roots: OnceLock<Roots>,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) http2_opened: Counter,
}

impl Clients {
    /// A client without connections.
    ///
    /// # Errors
    /// Which file cannot be used, in a sentence for the window's log.
    pub(crate) async fn make(
        &self,
        grant: &OutboundGrant,
        connections: Arc<Connections>,
    ) -> Result<HttpClient, String> {
        let screen = Screen::public_and(&grant.private).without(&self.own_listeners);
        // Not read where it is there: to clone one that is not would read it again each time.
        let system = self.roots.get().cloned();
        let (folder, ca, cert) = (
            self.folder.clone(),
            grant.ca.clone(),
            grant.client_cert.clone(),
        );
        let read = move || -> Result<_, String> {
            let system = system.unwrap_or_else(Roots::of_system);
            let roots = match &ca {
                Some(ca) => with_pem(&folder.join(ca), |pem| system.and(pem))?,
                None => system.clone(),
            };
            let identity = match &cert {
                Some(both) => Some(with_pem(&folder.join(&both.cert), |chain| {
                    let path = folder.join(&both.key);
                    let key = read_secret(&path)?;
                    let name = path.display().to_string();
                    let text = key.expose();
                    Identity::from_pem(chain, Pem { name: &name, text })
                })?),
                None => None,
            };
            Ok((system, roots, identity))
        };
        let reading = tokio::task::spawn_blocking(read).await;
        let (system, roots, identity) = reading.map_err(|error| error.to_string())??;
        if roots.is_empty() && grant.scheme == Scheme::HTTPS {
            // Read anew at the next call.
            return Err(
                "this machine has no certificate authorities that can be read: install its \
                        ca-certificates"
                    .into(),
            );
        }
        if !system.is_empty() {
            // Another one was as fast.
            let _ = self.roots.set(system);
        }
        let mut settings = ClientSettings::new(CONNECT_TIMEOUT, screen, roots);
        settings.identity = identity;
        settings.max_idle_per_host = MAX_IDLE_PER_HOST;
        settings.http2_opened = self.http2_opened.clone();
        settings.resolver = self.resolver.clone();
        settings.connections = Some(connections);
        Ok(HttpClient::new(settings))
    }
}

fn with_pem<T>(
    path: &Path,
    use_it: impl FnOnce(Pem<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let name = path.display().to_string();
    let read = || {
        let mut text = Vec::new();
        File::open(path)?.take(MAX_PEM).read_to_end(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().map_err(|error| format!("{name}: {error}"))?;
    use_it(Pem {
        name: &name,
        text: &text,
    })
}
