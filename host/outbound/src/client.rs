//! The client of one grant: what it may reach, whom it believes, and what it shows.

use crate::certificates::{Certificates, Read};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hms_grants::{NamedFiles, OutboundGrant};
use hms_net::client::{
    ClientSettings, Connections, HttpClient, OwnListeners, Resolve, Roots, Screen,
};
use http::uri::Scheme;
use prometheus_client::metrics::counter::Counter;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Until there is a connection, all addresses of a name together; as long again for TLS. A third
/// of what a request may take by default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections for each host and lane.
const MAX_IDLE_PER_HOST: usize = 8;

/// The files of a grant while they are read. Those who wait for them share it.
pub(crate) type Reading = Shared<BoxFuture<'static, Result<Arc<Read>, String>>>;

/// What all clients have in common.
pub(crate) struct Clients {
    pub(crate) files: NamedFiles,
    pub(crate) own_listeners: OwnListeners,
    /// Read at the first call, because that takes some milliseconds.
    pub(crate) roots: OnceLock<Roots>,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) http2_opened: Counter,
}

impl Clients {
    /// Reads the files of a grant, and the system's certificate authorities where they are not
    /// known. A disk that hangs holds one thread of those for blocking work.
    pub(crate) fn read(&self, grant: &OutboundGrant) -> Reading {
        // Not read where it is there: to clone one that is not would read it again each time.
        let system = self.roots.get().cloned();
        let (files, grant) = (self.files.clone(), grant.clone());
        if let (Some(system), None) = (&system, grant.files().next()) {
            let nothing = Arc::new(Read::files(&grant, &files, system.clone()));
            return std::future::ready(Ok(nothing)).boxed().shared();
        }
        let reading = tokio::task::spawn_blocking(move || {
            let system = system.unwrap_or_else(Roots::of_system);
            Arc::new(Read::files(&grant, &files, system))
        });
        let reading = async move { reading.await.map_err(|error| error.to_string()) };
        reading.boxed().shared()
    }

    /// The system's certificate authorities, where they are known.
    pub(crate) fn system(&self) -> Option<&Roots> {
        self.roots.get()
    }

    /// Those that were read are known from now on.
    pub(crate) fn know(&self, read: &Read) {
        // An empty list is read anew at the next call.
        if !read.system.is_empty() {
            // Another one was as fast.
            let _ = self.roots.set(read.system.clone());
        }
    }

    /// A client without connections.
    ///
    /// # Errors
    /// Why it could ask nobody, in a sentence for the window's log.
    pub(crate) fn make(
        &self,
        grant: &OutboundGrant,
        certificates: &Certificates,
        connections: Arc<Connections>,
    ) -> Result<HttpClient, String> {
        let roots = certificates.roots.clone();
        if roots.is_empty() && grant.scheme == Scheme::HTTPS {
            return Err(
                "this machine has no certificate authorities that can be read: install its \
                        ca-certificates"
                    .into(),
            );
        }
        let screen = Screen::public_and(&grant.private).without(&self.own_listeners);
        let mut settings = ClientSettings::new(CONNECT_TIMEOUT, screen, roots);
        settings.identity = certificates.identity.clone();
        settings.max_idle_per_host = MAX_IDLE_PER_HOST;
        settings.http2_opened = self.http2_opened.clone();
        settings.resolver = self.resolver.clone();
        settings.connections = Some(connections);
        Ok(HttpClient::new(settings))
    }
}
