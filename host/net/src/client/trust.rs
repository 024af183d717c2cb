//! What a client proves and believes by TLS.

use crate::pem::Pem;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The certificate authorities that a client trusts. Clones share them.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Those of this machine, as they are now; none where it has no trust store. Reads files, so it
    /// blocks for some milliseconds: clients had better share one.
    pub fn of_system() -> Self {
        let mut store = RootCertStore::empty();
        // One that cannot be read, as old stores have some, is left out.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Roots(Arc::new(store))
    }

    /// These, and each certificate of `more`.
    ///
    /// # Errors
    /// A sentence with the name of `more`, where it has none or one that cannot be used.
    pub fn and(&self, more: Pem<'_>) -> Result<Self, String> {
        let mut store = (*self.0).clone();
        for certificate in more.certificates(usize::MAX)? {
            let added = store.add(certificate);
            added.map_err(|error| format!("{}: {error}", more.name))?;
        }
        Ok(Roots(Arc::new(store)))
    }

    /// Whether it trusts nobody: no service can be asked over TLS.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The certificate that a client shows to services which ask for one, and its key.
#[derive(Clone)]
pub struct Identity(Arc<SingleCertAndKey>);

impl Identity {
    /// Reads a certificate, with those that lead to its authority behind it, and its private key.
    ///
    /// # Errors
    /// A sentence with the name of the one at fault.
    pub fn from_pem(chain: Pem<'_>, key: Pem<'_>) -> Result<Self, String> {
        let certificates = chain.certificates(usize::MAX)?;
        let provider = aws_lc_rs::default_provider();
        let pair = CertifiedKey::from_der(certificates, key.private_key()?, &provider);
        let pair = pair.map_err(|error| chain.no_pair(key, &error))?;
        Ok(Identity(Arc::new(pair.into())))
    }
}

/// The TLS of a client.
pub(super) fn config(roots: &Roots, identity: Option<Identity>) -> ClientConfig {
    let config = ClientConfig::builder().with_root_certificates(roots.0.clone());
    match identity {
        Some(Identity(pair)) => config.with_client_cert_resolver(pair),
        None => config.with_no_client_auth(),
    }
}
