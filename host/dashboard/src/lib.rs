//! The dashboard: pages for people on the admin listener, below `/ui`.
//!
//! It is a client of the admin API that runs in the same process ([`api`]): whatever it shows or
//! changes goes through the same requests as the command line, so it can do nothing that they
//! cannot. A request passes [`guard`] (which names and origins may ask), then [`session`] (who is
//! signed in). Then it is a page ([`pages`]), the live part of a page ([`live`]), or a request of
//! the admin API from a page's script. [`series`] remembers rates and latencies for the plots.
//!
//! Pages are templates in `templates/`, in which everything shown is escaped. Scripts and styles
//! are in `assets/`; the content security policy ([`reply`]) allows no others.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

mod api;
mod assets;
mod guard;
mod live;
mod machine;
mod pages;
mod reply;
mod series;
mod session;
mod show;
#[cfg(test)]
mod tests;

pub use api::AdminApi;

use api::Api;
use assets::Assets;
use guard::Hosts;
use hms_core::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use live::Live;
use machine::Machine;
use pages::Page;
use prometheus_client::metrics::counter::Counter;
use series::AllSeries;
use session::{Attempts, Sessions};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

/// The longest body of a sign-in. A token has some dozens of bytes.
const MAX_LOGIN_BYTES: usize = 4 << 10;

/// What the dashboard is told about its host.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The port of the admin listener, which names the cookie.
    pub port: u16,
    /// More names by which browsers may ask for it, in lower case, without a port.
    pub hosts: Vec<String>,
    /// The version of the program.
    pub version: &'static str,
    /// The data folder.
    pub data: PathBuf,
    /// More facts for the page about the host: what, and its value.
    pub facts: Vec<(&'static str, String)>,
}

/// The dashboard of a host.
pub struct Dashboard {
    about: About,
    cookie: String,
    hosts: Hosts,
    sessions: Sessions,
    attempts: Attempts,
    sign_ins_refused: Counter,
    assets: Assets,
    live: Live,
    series: Arc<AllSeries>,
    machine: Arc<Machine>,
}

/// What a request to the dashboard comes to.
pub enum Entered {
    /// It is answered.
    Answered(Response<Body>),
    /// It is a request of the admin API from a page whose user is signed in.
    Api(Request<Body>),
    /// It is for a page, and its user is signed in.
    Page(Wanted),
}

/// A page that is to be rendered.
pub struct Wanted {
    page: Page,
    live: bool,
    /// The digests of the IDs that it came with.
    by: Vec<[u8; 32]>,
}

impl Wanted {
    /// Whether the answer goes on until the tab is closed or hidden.
    pub fn is_live(&self) -> bool {
        self.live
    }
}

impl Dashboard {
    /// Nobody is signed in yet. Live answers end with `shutdown`.
    pub fn new(about: About, shutdown: CancellationToken) -> Self {
        Dashboard {
            cookie: format!("hms_admin_{}", about.port),
            hosts: Hosts::new(about.hosts.clone()),
            sessions: Sessions::default(),
            attempts: Attempts::default(),
            sign_ins_refused: Counter::default(),
            assets: Assets::new(),
            live: Live::new(shutdown),
            series: Arc::default(),
            machine: Arc::new(Machine::new(about.data.clone())),
            about,
        }
    }

    /// Sign-ins that were refused unread, because too many wrong tokens came before them.
    pub fn sign_ins_refused(&self) -> &Counter {
        &self.sign_ins_refused
    }

    /// Whether requests with this path are the dashboard's.
    pub fn has(path: &str) -> bool {
        path == "/" || path == "/ui" || path.starts_with("/ui/")
    }

    /// Remembers rates and latencies until `shutdown`.
    pub async fn sample(&self, api: Arc<dyn AdminApi>, shutdown: CancellationToken) {
        let sampling = self.series.sample(Api(api), || self.live.is_watched());
        let _ = shutdown.run_until_cancelled(sampling).await;
    }

    /// Decides what `request` comes to. Everything that needs no session is answered here. Wrong
    /// tokens are counted for `client`: of IPv6 its network, because one client has many addresses.
    pub async fn enter(
        &self,
        api: Arc<dyn AdminApi>,
        request: Request<Body>,
        client: IpAddr,
    ) -> Entered {
        if let Err(refusal) = self.hosts.check(request.headers(), request.uri()) {
            return Entered::Answered(*refusal);
        }
        let path = request.uri().path().to_owned();
        let (get, post) = (is_get(request.method()), request.method() == Method::POST);
        if matches!(&*path, "/" | "/ui") {
            return Entered::Answered(reply::see_other("/ui/"));
        }
        if let Some(name) = path.strip_prefix("/ui/assets/") {
            return Entered::Answered(self.assets.answer(name, request.headers()));
        }
        // These cost something even if only read. Plain HTTP off this machine says nothing of them.
        let by_script = path.starts_with("/ui/api/") || path.starts_with("/ui/live/");
        let says_from = request.headers().contains_key("sec-fetch-site");
        if (!get || (by_script && says_from))
            && let Err(refusal) = guard::check_same_origin(request.headers())
        {
            return Entered::Answered(*refusal);
        }
        let credential = api.credential().await;
        match &*path {
            "/ui/login" if get => return Entered::Answered(pages::login(None)),
            "/ui/login" if post => {
                return Entered::Answered(self.login(request, credential, client).await);
            }
            "/ui/logout" if post => {
                self.sessions.end(self.shown(request.headers()));
                return Entered::Answered(self.signed_out());
            }
            _ => {}
        }
        if !self
            .sessions
            .knows(self.shown(request.headers()), credential)
        {
            return Entered::Answered(refused(&path));
        }
        if let Some(inner) = path.strip_prefix("/ui/api/") {
            return match of_api(inner, request) {
                Some(request) => Entered::Api(request),
                None => Entered::Answered(reply::problem(
                    StatusCode::BAD_REQUEST,
                    "the path is malformed",
                )),
            };
        }
        if !get {
            let why = "pages are only read; changes go to /ui/api";
            return Entered::Answered(reply::problem(StatusCode::METHOD_NOT_ALLOWED, why));
        }
        let query = request.uri().query().unwrap_or_default();
        let (rest, live) = match path.strip_prefix("/ui/live/") {
            Some(rest) => (rest, true),
            None => (path.trim_start_matches("/ui/"), false),
        };
        match Page::read(rest, query) {
            Some(page) => {
                let by = self.shown(request.headers()).map(session::digest).collect();
                Entered::Page(Wanted { page, live, by })
            }
            None => Entered::Answered(pages::missing("There is no such page.")),
        }
    }

    /// Renders a page, or begins its live part.
    pub async fn page(self: &Arc<Self>, api: Arc<dyn AdminApi>, wanted: Wanted) -> Response<Body> {
        let (page, api) = (wanted.page, Api(api));
        if wanted.live {
            return self.live.begin(self.clone(), api, page, wanted.by);
        }
        match self.render(&page, &api).await {
            Ok(shown) => reply::rendered(shown.whole()),
            Err(problem) => pages::failed(&problem),
        }
    }

    /// The values of our cookie. There may be several: cookies ignore ports, and a page of another
    /// service may have set one for a longer path.
    fn shown<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let lines = headers.get_all(http::header::COOKIE).iter();
        let cookies = lines.filter_map(|line| line.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value)
    }

    async fn login(
        &self,
        request: Request<Body>,
        credential: [u8; 32],
        client: IpAddr,
    ) -> Response<Body> {
        // The browser says by which scheme it has asked, whatever proxies are in between.
        let origin = request.headers().get(http::header::ORIGIN);
        let secure = origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        if let Err(wait) = self.attempts.begin(client) {
            self.sign_ins_refused.inc();
            return pages::login(Some(&session::too_many(wait)));
        }
        let Some(body) = api::whole(request.into_body(), MAX_LOGIN_BYTES).await else {
            return pages::login(Some("The form could not be read. Try again."));
        };
        let mut fields = form_urlencoded::parse(&body);
        let token = fields.find(|(name, _)| name == "token");
        let given: [u8; 32] = match &token {
            Some((_, token)) => Sha256::digest(token.trim().as_bytes()).into(),
            None => [0; 32],
        };
        if !bool::from(given.ct_eq(&credential)) {
            tracing::warn!(%client, "dashboard: somebody gave a wrong token");
            let why =
                "That is not the admin token. It is in the file admin.token in the data folder.";
            return pages::login(Some(why));
        }
        self.attempts.was_right(client);
        match self.sessions.begin(credential) {
            Ok(id) => {
                tracing::info!(%client, "dashboard: somebody signed in");
                let life = session::LIFE.as_secs();
                self.with_cookie(reply::see_other("/ui/"), &id, life, secure)
            }
            Err(error) => {
                tracing::error!(%error, "dashboard: no random numbers");
                pages::login(Some("The host has no random numbers. Try again."))
            }
        }
    }

    fn signed_out(&self) -> Response<Body> {
        self.with_cookie(reply::see_other("/ui/login"), "", 0, false)
    }

    fn with_cookie(
        &self,
        mut to: Response<Body>,
        id: &str,
        life: u64,
        secure: bool,
    ) -> Response<Body> {
        let secure = if secure { "; Secure" } else { "" };
        let name = &self.cookie;
        let cookie =
            format!("{name}={id}; Path=/ui; HttpOnly; SameSite=Strict; Max-Age={life}{secure}");
        if let Ok(cookie) = http::HeaderValue::from_str(&cookie) {
            to.headers_mut().insert(http::header::SET_COOKIE, cookie);
        }
        to
    }
}

fn is_get(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The answer to a request without a session: a page leads to the sign-in, all else is told so.
fn refused(path: &str) -> Response<Body> {
    if path.starts_with("/ui/api/") || path.starts_with("/ui/live/") {
        return reply::problem(
            StatusCode::UNAUTHORIZED,
            "you are not signed in, or no longer",
        );
    }
    reply::see_other("/ui/login")
}

/// The request of the admin API that a page's script asks for.
fn of_api(inner: &str, request: Request<Body>) -> Option<Request<Body>> {
    let (mut head, body) = request.into_parts();
    let query = head.uri.query().map(|query| format!("?{query}"));
    let uri = format!("/{inner}{}", query.unwrap_or_default());
    head.uri = uri.parse::<Uri>().ok()?;
    head.headers.remove(http::header::COOKIE);
    Some(Request::from_parts(head, body))
}
