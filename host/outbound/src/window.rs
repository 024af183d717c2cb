//! What is kept of a window between its calls: its grants ready for use, its permits, its
//! connections, the last good content of its certificate files, and the health of the services that
//! it calls.

use crate::certificates::LastGood;
use crate::entry::Entry;
use crate::policy::Fit;
use crate::target::Target;
use hms_grants::{OutboundGrant, WindowGrants};
use hms_net::client::{Connections, Health, OfAll, Permits};
use http::Method;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Services whose health is known, of one window. Only a wildcard reaches so many.
const MAX_ORIGINS: usize = 256;

/// After so long without a call the client of a grant is dropped, with its TLS settings. Its
/// connections are closed long before.
const IDLE: Duration = Duration::from_secs(300);

/// How often is looked for idle clients.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// All windows that have made a call.
pub(crate) struct Windows {
    /// What they may have together.
    of_all: OfAll,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<Arc<str>, Arc<Window>>,
    looked: Option<Instant>,
}

/// One window.
#[derive(Default)]
pub(crate) struct Window {
    /// Of its calls at once.
    pub(crate) permits: Arc<Permits>,
    /// Of all its clients.
    pub(crate) connections: Arc<Connections>,
    pub(crate) certificates: LastGood,
    allowed: Mutex<Arc<Allowed>>,
    /// By origin.
    health: Mutex<HashMap<String, Arc<Health>>>,
}

/// What a window may call, as one version of its grants says.
#[derive(Default)]
pub(crate) struct Allowed {
    pub(crate) grants: Arc<WindowGrants>,
    entries: Vec<Arc<Entry>>,
}

impl Windows {
    /// None yet. Together they may have `most` connections.
    pub(crate) fn new(most: usize) -> Self {
        Windows {
            of_all: OfAll::new(most),
            known: Mutex::default(),
        }
    }

    /// Where all windows together have as many connections as they may, the idle ones are closed,
    /// of whatever window.
    pub(crate) fn make_room(&self) {
        if !self.of_all.are_full() {
            return;
        }
        let windows: Vec<_> = self.known.lock().by_name.values().cloned().collect();
        windows.iter().for_each(|window| window.drop_clients());
    }

    /// What is known of a window.
    pub(crate) fn window(&self, name: &Arc<str>) -> Arc<Window> {
        let mut all = self.known.lock();
        let now = Instant::now();
        if all.looked.is_none_or(|looked| now - looked >= LOOK_EVERY) {
            all.looked = Some(now);
            all.by_name.retain(|_, window| !window.is_idle(now));
        }
        let window = all.by_name.entry(name.clone());
        let window = window.or_insert_with(|| {
            Arc::new(Window {
                connections: Arc::new(Connections::among(self.of_all.clone())),
                ..Window::default()
            })
        });
        window.clone()
    }
}

impl Window {
    /// What it may call by `grants`, which hold now.
    pub(crate) fn allowed(&self, grants: Arc<WindowGrants>) -> Arc<Allowed> {
        let mut allowed = self.allowed.lock();
        if !Arc::ptr_eq(&allowed.grants, &grants) {
            self.certificates.retain(&grants.grants.outbound);
            *allowed = Arc::new(allowed.replaced_by(grants));
        }
        allowed.clone()
    }

    /// What is known of a service.
    pub(crate) fn health(&self, origin: &str) -> Arc<Health> {
        let mut known = self.health.lock();
        if let Some(health) = known.get(origin) {
            return health.clone();
        }
        if known.len() >= MAX_ORIGINS {
            let now = Instant::now();
            known.retain(|_, health| !health.is_in(now));
        }
        let health = Arc::<Health>::default();
        if known.len() < MAX_ORIGINS {
            known.insert(origin.to_owned(), health.clone());
        }
        health
    }

    /// From now on it may have `most` connections. Where it has as many, the idle ones end with
    /// their clients, which are made anew; those in use go on. Those of a client that waits for the
    /// head of an answer are kept as long.
    pub(crate) fn make_room(&self, most: usize) {
        self.connections.set_most(most);
        if self.connections.are_full() {
            self.drop_clients();
        }
    }

    fn drop_clients(&self) {
        let allowed = self.allowed.lock().clone();
        for entry in &allowed.entries {
            entry.drop_client();
        }
    }

    /// Drops idle clients. Whether nothing is left to keep.
    fn is_idle(&self, now: Instant) -> bool {
        let allowed = self.allowed.lock();
        let mut idle = self.permits.taken() == 0 && self.certificates.is_empty();
        for entry in &allowed.entries {
            idle &= entry.drop_idle_client(now, IDLE);
        }
        let known = self.health.lock();
        idle && known.values().all(|health| health.failures() == 0)
    }
}

impl Allowed {
    /// That of newer grants. A grant that says the same as before keeps what it has.
    fn replaced_by(&self, grants: Arc<WindowGrants>) -> Allowed {
        let entry = |grant: &OutboundGrant| {
            let same = self.entries.iter().find_map(|entry| entry.again(grant));
            same.unwrap_or_else(|| Arc::new(Entry::new(grant.clone())))
        };
        Allowed {
            entries: grants.grants.outbound.iter().map(entry).collect(),
            grants,
        }
    }

    /// The first grant that lets a request pass; else the line of one for the same origin, if there
    /// is one.
    pub(crate) fn fit(
        &self,
        method: &Method,
        target: &Target,
    ) -> Result<&Arc<Entry>, Option<usize>> {
        let mut near = None;
        for entry in &self.entries {
            match entry.fit(method, target) {
                Fit::Whole => return Ok(entry),
                Fit::OriginAlone => near = near.or(Some(entry.grant.line)),
                Fit::No => {}
            }
        }
        Err(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Clients;
    use crate::policy::tests::grant;
    use hms_grants::{Grants, NamedFiles, Secret};
    use hms_net::client::{OwnListeners, Roots};

    fn grants(outbound: Vec<OutboundGrant>) -> Arc<WindowGrants> {
        let grants = Grants {
            outbound,
            ..Grants::default()
        };
        Arc::new(WindowGrants {
            grants,
            ..WindowGrants::default()
        })
    }

    fn target(uri: &str) -> Target {
        Target::read(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn first_grant_that_fits_decides() {
        let mut posts = grant();
        posts.methods = vec![Method::POST];
        let second = OutboundGrant { line: 9, ..grant() };
        let window = Window::default();
        let allowed = window.allowed(grants(vec![
            posts,
            second.clone(),
            OutboundGrant { line: 12, ..second },
        ]));
        let line = |method, uri| {
            let fitting = allowed.fit(&method, &target(uri));
            fitting.map(|entry| entry.grant.line)
        };
        let uri = "https://api.card.example/";
        assert_eq!(line(Method::POST, uri), Ok(3));
        assert_eq!(line(Method::GET, uri), Ok(9));
        assert_eq!(line(Method::PUT, uri), Err(Some(3)));
        assert_eq!(line(Method::GET, "https://other.example/"), Err(None));
    }

    fn clients() -> Clients {
        Clients {
            files: NamedFiles::of("."),
            own_listeners: OwnListeners::default(),
            roots: Roots::of_system().into(),
            resolver: None,
            http2_opened: Default::default(),
        }
    }

    #[tokio::test]
    async fn grant_that_says_the_same_keeps_its_permits_and_its_client() {
        let with_file = OutboundGrant {
            ca: Some("ca.pem".into()),
            ..grant()
        };
        let (window, clients) = (Window::default(), clients());
        let first = window.allowed(grants(vec![grant(), with_file.clone()]));
        assert!(Arc::ptr_eq(&first, &window.allowed(first.grants.clone())));
        let client = async |allowed: &Allowed| {
            let client = allowed.entries[0].client(&clients, &window).await;
            client.unwrap().0
        };
        let before = client(&first).await;
        let mut changed = WindowGrants {
            grants: first.grants.grants.clone(),
            ..WindowGrants::default()
        };
        changed
            .secrets
            .insert("key".into(), Secret::new(b"new".to_vec()));
        // A comment above it, and another grant before it.
        for grant in &mut changed.grants.outbound {
            grant.line += 1;
        }
        changed.grants.outbound.swap(0, 1);
        let second = window.allowed(Arc::new(changed));
        let kept = |old: usize, new: usize| {
            let [old, new] = [&first.entries[old], &second.entries[new]];
            Arc::ptr_eq(old.permits(), new.permits()) && new.grant.line == old.grant.line + 1
        };
        assert!(kept(0, 1) && kept(1, 0));
        let after = second.entries[1].client(&clients, &window).await.unwrap();
        assert!(Arc::ptr_eq(&before, &after.0));
        let third = window.allowed(grants(vec![OutboundGrant {
            methods: vec![Method::POST],
            ..grant()
        }]));
        assert!(!Arc::ptr_eq(&before, &client(&third).await));
        let none = window.allowed(grants(Vec::new()));
        let fit = none.fit(&Method::GET, &target("https://api.card.example/"));
        assert_eq!(fit.err(), Some(None));
    }

    #[tokio::test]
    async fn idle_client_is_dropped_and_made_anew() {
        let (window, clients) = (Window::default(), clients());
        let allowed = window.allowed(grants(vec![grant()]));
        let entry = &allowed.entries[0];
        let client = async || entry.client(&clients, &window).await.unwrap().0;
        let first = client().await;
        assert!(Arc::ptr_eq(&first, &client().await));
        let later = Instant::now() + IDLE;
        assert!(!window.is_idle(Instant::now()));
        assert!(window.is_idle(later));
        assert!(!Arc::ptr_eq(&first, &client().await));
    }

    #[test]
    fn health_of_services_is_known_up_to_a_bound_and_failing_ones_stay() {
        let window = Window::default();
        let failing = window.health("https://down.example");
        failing.failed(Instant::now(), 1, IDLE);
        for index in 0..2 * MAX_ORIGINS {
            window.health(&format!("https://{index}.example"));
        }
        assert!(window.health.lock().len() <= MAX_ORIGINS);
        assert_eq!(window.health("https://down.example").failures(), 1);
    }
}
