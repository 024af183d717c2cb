//! What an operator can set: raw settings in, a checked [`Config`] out. The reasons for the
//! defaults of single limits stand where the limits are defined.

use anyhow::{Context, bail, ensure};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use hms_core::units::{Size, Time};
use hms_net::listen::parse_address;
use hms_runtime::{CompileLimits, Limit, WindowLimits};
use hms_telemetry::LogFormat;
use hms_windows::WindowsConfig;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The folder of grants where neither --grants nor --windows names one.
pub const GRANTS_FOLDER: &str = "windows";

/// The folder of routes where --routes names none.
pub const ROUTES_FOLDER: &str = "routes";

/// What `--max-token` may be: within the bound of a request's head, with room for its other fields.
const MAX_TOKEN: RangeInclusive<Size> = Size::of(1 << 10)..=Size::of(60 << 10);

/// The settings of `hms serve` and `hms up`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The address that clients connect to. Port 0 picks a free port
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9000",
        env = "HMS_GATEWAY",
        value_parser = parse_address
    )]
    pub gateway: SocketAddr,
    /// The address of the admin API, for operators
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9001",
        env = "HMS_ADMIN",
        value_parser = parse_address
    )]
    pub admin: SocketAddr,
    /// One more name by which browsers may ask for the dashboard, beside addresses and localhost
    /// [can be repeated]
    #[arg(
        long,
        value_name = "NAME",
        env = "HMS_ADMIN_HOST",
        value_delimiter = ','
    )]
    pub admin_host: Vec<String>,
    /// The data folder: stores, releases, secrets
    #[arg(long, value_name = "DIR", default_value = "data", env = "HMS_DATA")]
    pub data: PathBuf,
    /// The folder of route manifests, one YAML file per route
    #[arg(long, value_name = "DIR", default_value = ROUTES_FOLDER, env = "HMS_ROUTES")]
    pub routes: PathBuf,
    /// A watched folder of components: a .wasm file that appears or changes there is deployed
    /// under its file name
    #[arg(long, value_name = "DIR", env = "HMS_WINDOWS")]
    pub windows: Option<PathBuf>,
    /// The folder of grants, one YAML file per window: what it may call, know and use [default: the
    /// folder of --windows, else `windows`]
    #[arg(long, value_name = "DIR", env = "HMS_GRANTS")]
    pub grants: Option<PathBuf>,
    /// Keys to verify tokens with: a JWKS file or URL [default: the development secret in the data
    /// folder]
    #[arg(long, value_name = "FILE|URL", env = "HMS_JWKS", value_parser = NonEmptyStringValueParser::new())]
    pub jwks: Option<String>,
    /// The OpenID provider whose tokens are accepted; its keys are discovered
    #[arg(long, value_name = "URL", env = "HMS_OIDC", conflicts_with_all = ["jwks", "issuer"], value_parser = NonEmptyStringValueParser::new())]
    pub oidc: Option<String>,
    /// Several token issuers: a YAML or JSON file
    #[arg(long, value_name = "FILE", env = "HMS_ISSUERS", conflicts_with_all = ["jwks", "oidc", "issuer", "audience"])]
    pub issuers: Option<PathBuf>,
    /// The issuer that tokens must name (`iss`), with --jwks
    #[arg(long, value_name = "ISS", env = "HMS_ISSUER", value_parser = NonEmptyStringValueParser::new())]
    pub issuer: Option<String>,
    /// The audience that tokens must name (`aud`), with --jwks or --oidc
    #[arg(long, value_name = "AUD", env = "HMS_AUDIENCE", value_parser = NonEmptyStringValueParser::new())]
    pub audience: Option<String>,
    /// The largest accepted token; the whole head of a request may have 64KiB
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "32KiB",
        env = "HMS_MAX_TOKEN"
    )]
    pub max_token: Size,
    /// Serve TLS with this certificate and its chain (PEM), and HTTP/2 by ALPN. Reloaded when it
    /// changes
    #[arg(long, value_name = "FILE", env = "HMS_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "HMS_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Proxies in front whose X-Forwarded-For or Forwarded is trusted: addresses and networks
    #[arg(long, value_name = "NET", env = "HMS_TRUSTED_PROXIES", value_delimiter = ',', value_parser = hms_core::units::network)]
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Require a PROXY header, version 1 or 2, on each connection of a trusted proxy
    #[arg(long, env = "HMS_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub proxy_protocol: bool,
    /// Networks beyond the public internet that routes may lead to, for services on this machine or
    /// in its network
    #[arg(long, value_name = "NET", env = "HMS_UPSTREAM_ALLOW", value_delimiter = ',', value_parser = hms_core::units::network)]
    pub upstream_allow: Vec<ipnet::IpNet>,
    /// Connections per client address (IPv6: its /64) [default: a quarter of all; unlimited for
    /// trusted proxies]
    #[arg(long, value_name = "N", env = "HMS_CONNECTIONS_PER_ADDRESS")]
    pub connections_per_address: Option<usize>,
    /// Memory for answers that routes with `cache` store; 0 stores none
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        env = "HMS_CACHE_MEMORY"
    )]
    pub cache_memory: Size,
    /// Concurrent instances of all windows together
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub instances: u32,
    /// Memory of one instance
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    pub instance_memory: Size,
    /// CPU time of one request
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub instance_cpu_time: Time,
    /// Time until an instance's answer begins, excluding waits for the client
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub instance_wall_time: Time,
    /// Time that a replaced release, and the host at shutdown, has to complete requests
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub drain: Time,
    /// Time at shutdown between reporting "not ready" and accepting no more requests, for load
    /// balancers that poll /readyz
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "HMS_SHUTDOWN_DELAY"
    )]
    pub shutdown_delay: Time,
    /// The largest component that can be deployed
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    pub max_upload: Size,
    /// Time limit for compiling a component
    #[arg(long, value_name = "TIME", default_value = "2m")]
    pub compile_time: Time,
    /// Address space limit for compiling a component
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub compile_memory: Size,
    /// How long the head of an answer may take before the request is kept, and exported, as slow
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        env = "HMS_SLOW_REQUEST"
    )]
    pub slow_request: Time,
    /// Let windows import wasi:otel 0.2.0-rc.2 (tracing and logs): a draft, which may change
    #[arg(long, env = "HMS_WASI_OTEL")]
    pub wasi_otel: bool,
    /// Format of the log on stderr and of messages on stdout; HMS_LOG sets the level
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// Settings that were found good together.
#[derive(Debug, Clone)]
pub struct Config {
    /// As the operator gave them.
    pub settings: Settings,
    /// What the windows are given.
    pub windows: WindowsConfig,
}

impl Settings {
    /// The folder of grants.
    pub fn grants_folder(&self) -> &Path {
        let named = self.grants.as_deref().or(self.windows.as_deref());
        named.unwrap_or(Path::new(GRANTS_FOLDER))
    }
}

impl TryFrom<Settings> for Config {
    type Error = anyhow::Error;

    fn try_from(settings: Settings) -> anyhow::Result<Self> {
        ensure!(
            settings.connections_per_address != Some(0),
            "--connections-per-address 0: use 1 or more"
        );
        ensure!(
            MAX_TOKEN.contains(&settings.max_token),
            "--max-token {}: use 1KiB to 60KiB; the rest of a request's head must fit into the same 64KiB",
            settings.max_token
        );
        ensure!(
            settings.cache_memory == Size::of(0) || settings.cache_memory >= Size::of(1 << 20),
            "--cache-memory {}: use 0, or 1MiB or more",
            settings.cache_memory
        );
        ensure!(
            (1..=4096).contains(&settings.instances),
            "--instances {}: use 1 to 4096",
            settings.instances
        );
        ensure!(
            settings.instance_memory >= Size::of(1 << 20),
            "--instance-memory {}: an instance needs at least 1MiB",
            settings.instance_memory
        );
        ensure!(
            !settings.instance_cpu_time.is_zero(),
            "--instance-cpu-time must be greater than zero"
        );
        ensure!(
            !settings.instance_wall_time.is_zero(),
            "--instance-wall-time must be greater than zero"
        );
        ensure!(
            !settings.compile_time.is_zero(),
            "--compile-time must be greater than zero"
        );
        ensure!(
            settings.compile_memory >= Size::of(512 << 20),
            "--compile-memory {}: the compiler needs at least 512MiB",
            settings.compile_memory
        );
        is_folder(
            &settings.routes,
            "the routes folder",
            "set it with --routes, or create it (one YAML file per route)",
        )?;
        if let Some(folder) = &settings.windows {
            let cure = "create it, or start without --windows";
            is_folder(folder, "the windows folder", cure)?;
        }
        if let Some(folder) = &settings.grants {
            let cure = "create it, or start without --grants";
            is_folder(folder, "the grants folder", cure)?;
        }
        let mut windows = WindowsConfig::new(settings.data.clone());
        windows.engine.instances = settings.instances;
        windows.engine.experimental.wasi_otel = settings.wasi_otel;
        windows.engine.max_memory_bytes = windows.engine.max_memory_bytes.max(
            usize::try_from(settings.instance_memory.bytes())
                .context("--instance-memory is more than this machine can address")?,
        );
        windows.limits = WindowLimits::default()
            .at(Limit::MemoryBytes, settings.instance_memory.bytes())
            .at(Limit::CpuTimeMs, settings.instance_cpu_time.ms())
            .at(Limit::WallTimeMs, settings.instance_wall_time.ms())
            // So that one window cannot have all.
            .at(
                Limit::Instances,
                u64::from(settings.instances * 3).div_ceil(4),
            );
        windows.compile = CompileLimits {
            time: settings.compile_time.duration(),
            memory_bytes: settings.compile_memory.bytes(),
        };
        windows.drain_deadline = settings.drain.duration();
        windows.max_upload_bytes = settings.max_upload.bytes();
        windows.watched = settings.windows.clone();
        Ok(Config { settings, windows })
    }
}

/// Refuses a folder that is not there, which is a mistake. One that only cannot be looked at may be
/// there in a moment: until then what was there last serves.
fn is_folder(path: &Path, what: &str, cure: &str) -> anyhow::Result<()> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) => ensure!(found.is_dir(), "{what} {shown} is not a folder: {cure}"),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            bail!("{what} {shown} does not exist: {cure}")
        }
        Err(_) => {}
    }
    Ok(())
}
