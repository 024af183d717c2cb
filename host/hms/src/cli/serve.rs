//! `hms serve`: the host itself, assembled in the order in which its parts need each other.

use super::banner::Banner;
use super::identity;
use super::outgoing::OutgoingCalls;
use crate::config::{Config, Settings};
use crate::descriptors;
use crate::signals::{self, Hangup, Hangups};
use anyhow::Context;
use hms_admin::token::AdminToken;
use hms_admin::{Admin, Backups, Metrics, Readiness, Tasks};
use hms_api::LiveRoute;
use hms_core::reload;
use hms_dashboard::{About, Dashboard};
use hms_disk::data::DataFolder;
use hms_disk::permissions::{self, warn_if_readable, warn_if_writable};
use hms_disk::reserve::Reserve;
use hms_events::{Events, EventsConfig, EventsLimits, Gate, system_clock};
use hms_gateway::plugins::auth::{KeySource, check_exposure};
use hms_gateway::{Gateway, GatewayConfig};
use hms_grants::{AllGrants, GrantsFile, GrantsFolder, GrantsMetrics, NamedFiles};
use hms_manifest::ManifestSet;
use hms_net::certificate::Certificate;
use hms_net::client::Screen;
use hms_net::lanes::{Lanes, Threads};
use hms_net::listen::bind;
use hms_runtime::Compiler;
use hms_telemetry::WindowLines;
use hms_telemetry::otlp::{Exporter, OtlpSettings};
use hms_telemetry::trace::{Sampler, Tracer};
use hms_windows::{FolderProgress, Registry, WindowsFolder};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

/// Time beyond the drain deadline that the end of the host may take: to close connections and
/// stores. 5 s.
const END_TIME: Duration = Duration::from_secs(5);

/// How long the components of a watched folder may keep the host from being ready. 30 s: as long as
/// a request may take; what is live already is served from the first moment on.
const START_TIME: Duration = Duration::from_secs(30);

pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    // Not for `hms up`, whose builds make files that are the author's to share.
    permissions::make_private_files();
    let Some(host) = OpenHost::open(settings, Purpose::Operators).await? else {
        return Ok(());
    };
    host.banner().print();
    host.run().await
}

/// For whom a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `hms serve`.
    Operators,
    /// An author, who is told of traps by lines of source, and sees what windows log if that is
    /// wanted.
    Author { logs: bool },
    /// `hms test`, which shows what windows log if a test fails.
    Tests,
}

impl Purpose {
    /// What SIGHUP asks the host for.
    fn hangup(self) -> Hangup {
        match self {
            Purpose::Operators => Hangup::Reload,
            Purpose::Author { .. } | Purpose::Tests => Hangup::End,
        }
    }

    fn window_lines(self) -> WindowLines {
        match self {
            Purpose::Operators => WindowLines::Fields,
            Purpose::Author { logs: true } => WindowLines::Prefixed,
            Purpose::Author { logs: false } | Purpose::Tests => WindowLines::Hidden,
        }
    }

    /// What the log shows if nobody says.
    fn log_level(self) -> LevelFilter {
        match self {
            Purpose::Operators | Purpose::Author { .. } => LevelFilter::INFO,
            Purpose::Tests => LevelFilter::WARN,
        }
    }
}

/// A host with everything open and nothing served yet.
pub(super) struct OpenHost {
    pub(super) windows: Arc<Registry>,
    /// The deliveries of events.
    events: Arc<Events>,
    /// Cancelled by the first signal that ends.
    pub(super) shutdown: CancellationToken,
    hangups: Option<Hangups>,
    config: Config,
    data: DataFolder,
    gateway: Arc<Gateway>,
    gateway_listeners: Vec<TcpListener>,
    admin: Arc<Admin>,
    admin_listeners: Vec<TcpListener>,
    folder: Option<WindowsFolder>,
    lanes: Threads,
    reserve: Arc<Reserve>,
    dev_secret: bool,
    otlp: Option<Arc<Exporter>>,
}

impl OpenHost {
    /// None where it was told to end before it was open.
    pub(super) async fn open(settings: Settings, purpose: Purpose) -> anyhow::Result<Option<Self>> {
        let (lines, level) = (purpose.window_lines(), purpose.log_level());
        hms_telemetry::start(settings.log_format, lines, level)?;
        let config = Config::try_from(settings)?;
        let settings = &config.settings;
        let signals = signals::watch(purpose.hangup())?;
        let otlp = OtlpSettings::from_environment().map_err(anyhow::Error::msg)?;
        let sampler = otlp.as_ref().map_or_else(Sampler::off, |otlp| otlp.sampler);
        let otlp = otlp.map(|otlp| Arc::new(Exporter::new(otlp)));
        if let Some(log) = otlp.as_ref().and_then(|otlp| otlp.log_queue()) {
            hms_telemetry::export_log(log);
        }
        let queue = otlp.as_ref().and_then(|otlp| otlp.queue());
        let tracer = Tracer::new(sampler, settings.slow_request.duration()).exporting(queue);
        let tracer = Arc::new(tracer);
        let data = DataFolder::take(&settings.data)?;
        warn_of_others(settings);
        let reserve = Reserve::open(data.path());
        let auth = identity::auth(settings, data.path(), reserve.clone())?;
        check_exposure(&[settings.gateway], &auth).map_err(anyhow::Error::msg)?;
        let gateway_listeners = bind(settings.gateway, "--gateway").await?;
        let admin_listeners = bind(settings.admin, "--admin").await?;

        let mut windows_config = config.windows.clone();
        windows_config.reserve = reserve.clone();
        windows_config.tracer = tracer.clone();
        let source_lines = purpose != Purpose::Operators;
        windows_config.engine.source_lines = source_lines;
        // Before the windows, whose limits and instances depend on it.
        let grants_metrics = GrantsMetrics::default();
        let folder = settings.grants_folder().to_owned();
        windows_config.grants = Arc::new(AllGrants::of(folder));
        let named = NamedFiles::of(settings.grants_folder()).outside_of(data.path());
        let grants = {
            let named = named.clone();
            let kept = data.path().join("grants.json");
            let (all, counts) = (windows_config.grants.clone(), grants_metrics.clone());
            let load = move || GrantsFolder::load(named, Some(kept), all, counts);
            Arc::new(tokio::task::spawn_blocking(load).await?)
        };
        let open_files = descriptors::raise();
        let outgoing = OutgoingCalls::new(windows_config.grants.clone(), named, open_files);
        outgoing.refuse(gateway_listeners.iter().chain(&admin_listeners));
        windows_config.outgoing = Some(outgoing.sender());
        let gate = Arc::<Gate>::default();
        windows_config.emit_guard = Some(gate.clone());
        windows_config.outboxes = Some(gate.clone());
        let granted = windows_config.grants.clone();
        let compiler = Compiler::this_program(windows_config.compile)?;
        let compiler = compiler.with_source_lines(source_lines);
        let windows =
            tokio::task::spawn_blocking(move || Registry::open(windows_config, compiler)).await??;
        outgoing.of(&windows);
        // Before the windows are open, and so before one of them emits an event.
        let deliveries = EventsConfig {
            stores: windows.stores().clone(),
            windows: windows.clone(),
            outgoing: Some(outgoing.sender()),
            grants: granted,
            limits: EventsLimits::default(),
            tracer: tracer.clone(),
            clock: system_clock,
        };
        let events = Events::open(data.path().join("events.redb"), deliveries).await;
        let events = events.context(
            "the state of deliveries, events.redb, cannot be used: put a good copy back, or move it away; \
             then subscriptions begin where their files say",
        )?;
        gate.open(&events);
        let (registry, delivering) = (windows.clone(), Arc::downgrade(&events));
        grants.on_change(Box::new(move |window, before, after| {
            registry.grants_changed(window, before, after);
            if let Some(events) = delivering.upgrade() {
                events.grants_changed();
            }
        }));
        // It may compile for minutes, after an upgrade, and leaves everything as it was where it is
        // left.
        let restoring = signals.shutdown.run_until_cancelled(windows.restore());
        let Some(restored) = restoring.await else {
            tracing::info!("shut down before it was open");
            return Ok(None);
        };
        restored?;
        let dev_secret = matches!(auth.keys, KeySource::DevSecret(_));
        let mut gateway_config = GatewayConfig::new(&settings.routes, auth);
        gateway_config.upstream_allow = settings.upstream_allow.clone();
        gateway_config.trusted_proxies = settings.trusted_proxies.clone();
        gateway_config.proxy_protocol = settings.proxy_protocol;
        if let (Some(chain), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
            let certificate = Certificate::load(chain.clone(), key.clone());
            gateway_config.certificate = Some(certificate.map_err(anyhow::Error::msg)?);
        }
        gateway_config.kept_routes = Some(data.path().join("routes.json"));
        gateway_config.idempotency = Some(data.path().join("idempotency.redb"));
        gateway_config.limits.drain_timeout = settings.drain.duration();
        let limits = &mut gateway_config.limits;
        limits.bound_connections(
            descriptors::connections(limits.max_connections, open_files),
            settings.connections_per_address,
        );
        limits.max_cache_bytes = settings.cache_memory.bytes();
        limits.bound_services(
            descriptors::services(limits.max_at_services, open_files),
            settings.connections_per_address,
        );
        let (lanes, threads) = Lanes::start().context("cannot start the threads of the gateway")?;
        gateway_config.lanes = Some(lanes);
        gateway_config.tracer = tracer.clone();
        let gateway = Gateway::new(gateway_config, windows.clone());
        let mut metrics = Metrics::new(&gateway);
        metrics.windows(&windows);
        metrics.reserve(reserve.clone());
        metrics.outgoing(&outgoing.metrics);
        metrics.events(events.metrics());
        if let Some(otlp) = &otlp {
            metrics.otlp(&otlp.metrics());
        }
        let backups = Backups::new(data.path().to_owned(), signals.shutdown.clone());
        let backups = backups.with_events(events.clone());
        metrics.backups(&backups);
        metrics.grants(&grants_metrics);
        let watched = |dir: &PathBuf| WindowsFolder::new(windows.clone(), dir.clone());
        let folder = settings.windows.as_ref().map(watched);
        if let Some(folder) = &folder {
            metrics.watched_files(folder.counts());
        }
        let dashboard = Arc::new(Dashboard::new(
            about(settings, &data, &gateway_listeners, &admin_listeners),
            signals.shutdown.clone(),
        ));
        metrics.dashboard(&dashboard);
        let readiness = Readiness::default();
        let routes = gateway.clone();
        readiness.wait_for("the routes folder", move || routes.routes_were_read());
        let files = grants.files().clone();
        readiness.wait_for("the grants folder", move || files.was_read());
        if let Some(progress) = folder.as_ref().map(WindowsFolder::progress) {
            let was_read = move || *progress.borrow() > FolderProgress::Unread;
            readiness.wait_for("the windows folder", was_read);
        }
        let admin = Arc::new(Admin {
            token: AdminToken::open(data.path())?,
            windows: windows.clone(),
            metrics,
            gateway: gateway.clone(),
            grants,
            readiness,
            tasks: Tasks::default(),
            backups,
            events: events.clone(),
            shutdown: signals.shutdown.clone(),
            dashboard,
        });
        Ok(Some(OpenHost {
            windows,
            events,
            shutdown: signals.shutdown,
            hangups: signals.hangups,
            config,
            data,
            gateway,
            gateway_listeners,
            admin,
            admin_listeners,
            folder,
            lanes: threads,
            reserve,
            dev_secret,
            otlp,
        }))
    }

    /// Serves until a signal, then drains and ends.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let OpenHost {
            windows,
            events,
            shutdown,
            hangups,
            config,
            data,
            gateway,
            gateway_listeners,
            admin,
            admin_listeners,
            folder,
            lanes,
            reserve,
            otlp,
            ..
        } = self;
        tokio::spawn(reserve.keep());
        if let Some(otlp) = &otlp {
            let admin = admin.clone();
            otlp.start(Arc::new(move || {
                admin.metrics.render(&admin.windows, &admin.gateway)
            }));
        }
        let (readiness, tasks) = (admin.readiness.clone(), admin.tasks.clone());
        let keys = gateway.api_keys().clone();
        if let Some(hangups) = hangups {
            let reloading = reload_by(hangups, gateway.clone(), admin.clone());
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(reloading));
        }
        admin.grants.watch();
        // The admin API stays until the gateway is done, so that one can watch it drain.
        let admin_shutdown = CancellationToken::new();
        let admin = tokio::spawn(hms_admin::serve(
            admin_listeners,
            admin,
            admin_shutdown.clone(),
        ));
        let closing = CancellationToken::new();
        let serving = tokio::spawn(gateway.serve(gateway_listeners, closing.clone()));
        // Once the windows are there: what is not deployed gets nothing.
        events.start();
        let caught_up = caught_up(folder.as_ref());
        if let Some(folder) = folder {
            // It ends with the first signal: what it would deploy then would open a window that is
            // being closed.
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(folder.run()));
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = caught_up => {
                readiness.set(true);
                shutdown.cancelled().await;
            }
        }
        // First, so that a load balancer sends nobody any more while somebody is still at the door.
        readiness.set(false);
        let delay = config.settings.shutdown_delay.duration();
        if !delay.is_zero() {
            tracing::info!(
                ?delay,
                "no longer ready; requests are still accepted for the shutdown delay"
            );
            tokio::time::sleep(delay).await;
        }
        closing.cancel();
        let cut = serving.await.context("the gateway failed")?;
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                "connections cut off at the drain deadline"
            );
        }
        // Before the windows: a delivery that finds its window closed would say nothing of it.
        events.stop().await;
        let drain = config.settings.drain.duration() + END_TIME;
        if tokio::time::timeout(drain, windows.drain_all())
            .await
            .is_err()
        {
            tracing::warn!("shut down with requests still in flight");
        }
        admin_shutdown.cancel();
        let _ = tokio::time::timeout(END_TIME, admin).await;
        // A change whose client has left is finished too. One that still takes longer, such as a
        // compile, is given up as by a crash: wholly there, or not at all.
        let given_up = tasks.end(END_TIME).await;
        if given_up > 0 {
            tracing::warn!(
                changes = given_up,
                "shut down with changes still in progress"
            );
        }
        // No window emits any more.
        events.close().await;
        windows.save_all(END_TIME).await;
        let revoked = keys.unsaved().map_or(0, |unsaved| unsaved.revoked.len());
        if windows.unsaved() + revoked > 0 {
            let windows = windows.unsaved();
            tracing::error!(
                windows,
                keys = revoked,
                "their last changes are not on disk and will be undone by the next start"
            );
        }
        if let Some(otlp) = otlp {
            otlp.finish(END_TIME).await;
        }
        let _ = tokio::time::timeout(END_TIME, lanes.end()).await;
        drop(data);
        tracing::info!("shut down");
        Ok(())
    }

    /// The folders that this host follows.
    pub(super) fn folders(&self) -> Folders {
        Folders {
            gateway: self.gateway.clone(),
            grants: self.admin.grants.files().clone(),
        }
    }

    /// What is open where, and what to try next.
    pub(super) fn banner(&self) -> Banner {
        Banner {
            windows: self.windows.clone(),
            gateway: match &self.config.settings.tls_cert {
                Some(_) => url(&self.gateway_listeners).replacen("http", "https", 1),
                None => url(&self.gateway_listeners),
            },
            admin: url(&self.admin_listeners),
            data: self.data.path().to_owned(),
            routes: self.config.settings.routes.clone(),
            dev_secret: self.dev_secret,
            folders: self.folders(),
            upstreams: Screen::public_and(&self.config.settings.upstream_allow),
        }
    }
}

/// The folders of routes and grants that a host follows.
#[derive(Clone)]
pub(super) struct Folders {
    gateway: Arc<Gateway>,
    grants: Arc<ManifestSet<GrantsFile>>,
}

impl Folders {
    /// Has the host follow these folders as well: what is in them is in force when this returns.
    pub(super) async fn follow_also(&self, routes: Vec<PathBuf>, grants: Vec<PathBuf>) {
        let (gateway, files) = (self.gateway.clone(), self.grants.clone());
        let following = tokio::task::spawn_blocking(move || {
            // What a window may do is there before anybody can ask it.
            files.follow_also(grants);
            gateway.follow_also(routes);
        });
        // A look that failed by a fault of its own is followed by the next.
        let _ = following.await;
    }

    /// The scopes that the live routes ask for.
    pub(super) fn scopes(&self) -> BTreeSet<String> {
        self.gateway.scopes()
    }

    /// The live routes, by the names of their files.
    pub(super) fn routes(&self) -> Vec<LiveRoute> {
        let files = self.gateway.routes().into_iter();
        files.filter_map(|file| file.route).collect()
    }
}

/// How this program was built, such as `release, x86_64-linux`.
fn build() -> String {
    let profile = match cfg!(debug_assertions) {
        true => "debug",
        false => "release",
    };
    format!(
        "{profile}, {}-{}",
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// What the dashboard is told about this host.
fn about(
    settings: &Settings,
    data: &DataFolder,
    gateway: &[TcpListener],
    admin: &[TcpListener],
) -> About {
    let port = admin
        .first()
        .and_then(|listener| listener.local_addr().ok());
    let names = settings.admin_host.iter();
    About {
        port: port.map_or(0, |address| address.port()),
        hosts: names.map(|name| name.to_ascii_lowercase()).collect(),
        version: env!("CARGO_PKG_VERSION"),
        data: data.path().to_owned(),
        facts: vec![
            ("Build", build()),
            ("Gateway", url(gateway)),
            ("Admin", url(admin)),
            ("Data folder", data.path().display().to_string()),
            ("Routes folder", settings.routes.display().to_string()),
            (
                "Grants folder",
                settings.grants_folder().display().to_string(),
            ),
            (
                "Memory for stored answers",
                settings.cache_memory.to_string(),
            ),
            ("Instances", settings.instances.to_string()),
            (
                "Memory of an instance",
                settings.instance_memory.to_string(),
            ),
            (
                "CPU time of a request",
                settings.instance_cpu_time.to_string(),
            ),
            (
                "Time until an answer begins",
                settings.instance_wall_time.to_string(),
            ),
            ("Time to drain", settings.drain.to_string()),
            ("Largest component", settings.max_upload.to_string()),
            ("Time to compile", settings.compile_time.to_string()),
            ("Memory to compile", settings.compile_memory.to_string()),
        ],
    }
}

/// Reads again what is read from files, each time it is asked for by SIGHUP.
async fn reload_by(mut hangups: Hangups, gateway: Arc<Gateway>, admin: Arc<Admin>) {
    loop {
        hangups.next().await;
        let token = admin.token.clone();
        let token = reload::blocking("admin token", move || token.read_again().map(reload::news));
        let grants = admin.grants.read_again();
        let (mut all, grants, token) = tokio::join!(gateway.read_again(), grants, token);
        all.extend(grants);
        all.push(token);
        reload::say(&all);
    }
}

/// Resolves once the components of the folder are live, or took as long as they may from the moment
/// on that the folder could be read.
fn caught_up(folder: Option<&WindowsFolder>) -> impl Future<Output = ()> + use<> {
    let progress = folder.map(WindowsFolder::progress);
    async move {
        let Some(mut progress) = progress else {
            return;
        };
        // An error says that the folder is followed no more: the host ends.
        let _ = progress.wait_for(|now| *now > FolderProgress::Unread).await;
        let all = progress.wait_for(|now| *now == FolderProgress::CaughtUp);
        let _ = tokio::time::timeout(START_TIME, all).await;
    }
}

/// Says what the host trusts that every user of this machine can change, or read where it is
/// secret.
fn warn_of_others(settings: &Settings) {
    warn_if_writable(&settings.routes, "the routes folder");
    if settings.windows.as_deref() != Some(settings.grants_folder()) {
        warn_if_writable(settings.grants_folder(), "the grants folder");
    }
    let trusted = [
        (&settings.windows, "the windows folder"),
        (&settings.issuers, "the issuers file"),
        (&settings.tls_cert, "the certificate"),
    ];
    for (path, what) in trusted {
        if let Some(path) = path {
            warn_if_writable(path, what);
        }
    }
    if let Some(source) = &settings.jwks {
        // Where it is a URL there is no such file.
        warn_if_writable(source.as_ref(), "the key set");
    }
    if let Some(key) = &settings.tls_key {
        warn_if_readable(key, "the private key");
    }
}

/// The address as a URL. The first listener is the one that was asked for; a second is its twin on
/// `::1`.
fn url(listeners: &[TcpListener]) -> String {
    match listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
    {
        Some(addr) => format!("http://{addr}"),
        None => "nowhere".into(),
    }
}
