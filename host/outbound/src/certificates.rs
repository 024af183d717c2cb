//! The certificate files of a window's grants, and what they said when they could last be used:
//! that is used while they are away, or while a certificate and its key do not match.

use hms_grants::{NamedFiles, OutboundGrant, Secret};
use hms_net::client::{Identity, Roots};
use hms_net::pem::Pem;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};

/// What the client of a grant believes and shows.
pub(crate) struct Certificates {
    pub(crate) roots: Roots,
    pub(crate) identity: Option<Identity>,
    /// Which content of the files that is: another one has other numbers.
    pub(crate) versions: [u64; 2],
    /// Why it is not what the files say now.
    pub(crate) faults: Vec<String>,
}

/// The files of one grant as they were read.
pub(crate) struct Read {
    pub(crate) system: Roots,
    authority: Option<Part<Roots>>,
    identity: Option<Part<Identity>>,
}

/// The text of a part, and what it says; or what is wrong with it.
type Part<T> = Result<(Vec<Secret>, T), String>;

/// What the files of one window said last.
#[derive(Default)]
pub(crate) struct LastGood(Mutex<Known>);

#[derive(Default)]
struct Known {
    authorities: HashMap<PathBuf, Good<Roots>>,
    /// By certificate and key.
    identities: HashMap<(PathBuf, PathBuf), Good<Identity>>,
    versions: u64,
}

struct Good<T> {
    text: Vec<Secret>,
    value: T,
    version: u64,
}

impl Read {
    /// Reads the files of `grant`, which are among `named`. Blocks.
    pub(crate) fn files(grant: &OutboundGrant, named: &NamedFiles, system: Roots) -> Read {
        let shown = |path: &Path| named.folder().join(path).display().to_string();
        let authority = grant.ca.as_ref().map(|ca| {
            let text = Secret::new(named.read_certificates(ca)?);
            let roots = system.and(pem(&shown(ca), &text))?;
            Ok((vec![text], roots))
        });
        let identity = grant.client_cert.as_ref().map(|both| {
            let chain = Secret::new(named.read_certificates(&both.cert)?);
            let key = named.read_secret(&both.key)?;
            let [cert_name, key_name] = [&both.cert, &both.key].map(|path| shown(path));
            let identity = Identity::from_pem(pem(&cert_name, &chain), pem(&key_name, &key))?;
            Ok((vec![chain, key], identity))
        });
        Read {
            system,
            authority,
            identity,
        }
    }
}

fn pem<'a>(name: &'a str, text: &'a Secret) -> Pem<'a> {
    Pem {
        name,
        text: text.expose(),
    }
}

impl LastGood {
    /// What `grant` uses, where `read` is what its files say now.
    ///
    /// # Errors
    /// What is wrong with a file that never could be used.
    pub(crate) fn or(&self, grant: &OutboundGrant, read: &Read) -> Result<Certificates, String> {
        let mut known = self.0.lock();
        let Known {
            authorities,
            identities,
            versions,
        } = &mut *known;
        let mut faults = Vec::new();
        let (roots, of_roots) = match (&grant.ca, &read.authority) {
            (Some(ca), Some(part)) => settle(authorities, ca.clone(), part, versions, &mut faults)?,
            _ => (read.system.clone(), 0),
        };
        let (identity, of_identity) = match (&grant.client_cert, &read.identity) {
            (Some(both), Some(part)) => {
                let both = (both.cert.clone(), both.key.clone());
                let (identity, version) = settle(identities, both, part, versions, &mut faults)?;
                (Some(identity), version)
            }
            _ => (None, 0),
        };
        Ok(Certificates {
            roots,
            identity,
            versions: [of_roots, of_identity],
            faults,
        })
    }

    /// What `grant` used last, without its files; none where that is not known of each.
    pub(crate) fn of(&self, grant: &OutboundGrant, system: &Roots) -> Option<Certificates> {
        let late = |path: &Path| format!("{}: its disk does not answer", path.display());
        let cert = grant.client_cert.as_ref().map(|both| &both.cert);
        let read = Read {
            system: system.clone(),
            authority: grant.ca.as_deref().map(|ca| Err(late(ca))),
            identity: cert.map(|cert| Err(late(cert))),
        };
        self.or(grant, &read).ok()
    }

    /// Forgets files that none of `grants` names.
    pub(crate) fn retain(&self, grants: &[OutboundGrant]) {
        let mut known = self.0.lock();
        let is_named = |ca: &PathBuf| grants.iter().any(|grant| grant.ca.as_ref() == Some(ca));
        known.authorities.retain(|ca, _| is_named(ca));
        let pairs = grants.iter().filter_map(|grant| grant.client_cert.as_ref());
        let named: Vec<_> = pairs.map(|both| (&both.cert, &both.key)).collect();
        let identities = &mut known.identities;
        identities.retain(|(cert, key), _| named.contains(&(cert, key)));
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_empty(&self) -> bool {
        let known = self.0.lock();
        known.authorities.is_empty() && known.identities.is_empty()
    }
}

/// What is used of one part: what was read, or the last that could be.
fn settle<K: Eq + Hash, T: Clone>(
    known: &mut HashMap<K, Good<T>>,
    key: K,
    read: &Part<T>,
    versions: &mut u64,
    faults: &mut Vec<String>,
) -> Result<(T, u64), String> {
    let last = known.get(&key);
    let used = |good: &Good<T>| (good.value.clone(), good.version);
    match (read, last) {
        (Ok((text, _)), Some(last)) if last.text == *text => Ok(used(last)),
        (Ok((text, value)), _) => {
            *versions += 1;
            let good = Good {
                text: text.clone(),
                value: value.clone(),
                version: *versions,
            };
            let settled = used(&good);
            known.insert(key, good);
            Ok(settled)
        }
        (Err(fault), Some(last)) => {
            faults.push(fault.clone());
            Ok(used(last))
        }
        (Err(fault), None) => Err(fault.clone()),
    }
}
