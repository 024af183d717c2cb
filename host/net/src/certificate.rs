//! TLS for listeners: one certificate from two files, which are read again when they change.

use crate::pem::Pem;
use crate::validity::not_after;
use arc_swap::ArcSwap;
use hms_disk::changes::{Changes, LOOK_EVERY};
use hms_disk::files::{folder_of, read_at_most};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_rustls::TlsAcceptor;

/// Certificates in one chain.
const MAX_CHAIN: usize = 16;

/// Bytes of each file. Real ones have some thousand.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The contents of the chain's file and of the key's.
type Pair = (Vec<u8>, Vec<u8>);

/// The two files, and what of them is in use.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    live: ArcSwap<Live>,
    /// The files' contents as they were read last, good or not, or why they could not be.
    seen: Mutex<Result<Pair, String>>,
}

/// What connections are served with.
#[derive(Debug)]
struct Live {
    config: Arc<ServerConfig>,
    since: OffsetDateTime,
    /// None where the certificate does not say it in the usual way.
    expires: Option<OffsetDateTime>,
}

impl Live {
    fn now((config, expires): (ServerConfig, Option<OffsetDateTime>)) -> Live {
        Live {
            expires,
            config: Arc::new(config),
            since: OffsetDateTime::now_utc(),
        }
    }
}

impl Certificate {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    ///
    /// A sentence with the file at fault.
    pub fn load(chain: PathBuf, key: PathBuf) -> Result<Arc<Certificate>, String> {
        let files = read_both(&chain, &key)?;
        let config = config_of(&files, &chain, &key)?;
        Ok(Arc::new(Certificate {
            chain,
            key,
            live: ArcSwap::from_pointee(Live::now(config)),
            seen: Mutex::new(Ok(files)),
        }))
    }

    /// What a connection that begins now is served with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.live.load().config.clone())
    }

    /// When the certificate that is in use ends, if it says so.
    pub fn expires(&self) -> Option<OffsetDateTime> {
        self.live.load().expires
    }

    /// Starts the watch, in a task of the present tokio runtime. It ends when the certificate is
    /// dropped. `refused` is 1 while the files as they are cannot be used.
    pub fn watch(self: &Arc<Self>, refused: Gauge) {
        tokio::spawn(watch(Arc::downgrade(self), refused));
    }

    /// Reads the files now. Gives whether they have another pair, in words: the watch may have
    /// taken it a moment before, so an old one is said with its time. What is no pair leaves the
    /// old one. `refused` is 1 while the files as they are cannot be used. Blocks.
    ///
    /// # Errors
    /// A sentence with the file at fault.
    pub fn read_again(&self, refused: &Gauge) -> Result<String, String> {
        let changed = self.take_in(read_both(&self.chain, &self.key), refused)?;
        if changed {
            return Ok("new".into());
        }
        let since = self.live.load().since.truncate_to_second();
        let since = since.format(&Rfc3339).map_err(|error| error.to_string())?;
        Ok(format!("unchanged, live since {since}"))
    }

    /// The same, and nothing is said of files that are as they were seen last. A pair that does not
    /// fit, as while one of both is written, leaves the old one.
    pub fn reload(&self, refused: &Gauge) {
        let files = read_both(&self.chain, &self.key);
        let seen = self.seen.lock();
        let known = *seen == files;
        drop(seen);
        if !known && let Err(reason) = self.take_in(files, refused) {
            tracing::warn!(
                reason,
                "the new certificate is refused; the old one stays in use"
            );
        }
    }

    fn take_in(
        &self,
        files: Result<(Vec<u8>, Vec<u8>), String>,
        refused: &Gauge,
    ) -> Result<bool, String> {
        let config = files.as_ref().map_err(String::clone);
        let config = config.and_then(|files| config_of(files, &self.chain, &self.key));
        let mut seen = self.seen.lock();
        let changed = *seen != files;
        *seen = files;
        refused.set(i64::from(config.is_err()));
        let config = config?;
        if changed {
            tracing::info!(file = %self.chain.display(), "the new certificate is live");
            self.live.store(Arc::new(Live::now(config)));
        }
        Ok(changed)
    }
}

async fn watch(certificate: Weak<Certificate>, refused: Gauge) {
    let mut changes = Changes::new();
    while let Some(certificate) = certificate.upgrade() {
        let files = [&certificate.chain, &certificate.key];
        changes.follow(files.map(|file| folder_of(file))).await;
        // One that failed by a fault of its own is followed by the next.
        let refused = refused.clone();
        let _ = tokio::task::spawn_blocking(move || certificate.reload(&refused)).await;
        changes.wait(LOOK_EVERY).await;
    }
}

fn read_both(chain: &Path, key: &Path) -> Result<Pair, String> {
    let chain = read(chain).map_err(|why| format!("the certificate {why}"))?;
    let key = read(key).map_err(|why| format!("the private key {why}"))?;
    Ok((chain, key))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    read_at_most(file, MAX_FILE_BYTES).map_err(|error| format!("{}: {error}", file.display()))
}

/// The configuration, and when its certificate ends.
fn config_of(
    files: &Pair,
    chain: &Path,
    key: &Path,
) -> Result<(ServerConfig, Option<OffsetDateTime>), String> {
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let of = |name, text| Pem { name, text };
    let (chain, key) = (of(&chain, &files.0), of(&key, &files.1));
    let certificates = chain
        .certificates(MAX_CHAIN)
        .map_err(|why| match chain.is_key() {
            true => why + "; are --tls-cert and --tls-key swapped?",
            false => why,
        })?;
    let expires = certificates.first().and_then(|first| not_after(first));
    let private = key.private_key()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| chain.no_pair(key, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, expires))
}

#[cfg(test)]
mod tests;
