//! `hms serve`: the host itself, assembled in the order in which its parts need each other.

use crate::admin::{self, Admin, Metrics, Readiness, token};
use crate::config::{Config, Settings};
use crate::data::DataFolder;
use crate::front::FrontDoor;
use crate::gateway::plugins::auth::{
    AuthConfig, JwksSource, KeySource, check_exposure, dev_secret,
};
use crate::gateway::{Gateway, GatewayConfig, bind};
use crate::runtime::Compiler;
use crate::windows::Registry;
use crate::{shutdown, telemetry};
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time beyond the drain deadline that the end of the host may take: to close connections and stores. 5 s.
const END_TIME: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let host = Host::open(settings).await?;
    println!("{}", host.banner().await);
    host.run().await
}

/// A host with everything open and nothing served yet.
pub(super) struct Host {
    pub(super) windows: Arc<Registry>,
    config: Config,
    data: DataFolder,
    gateway: Arc<Gateway>,
    gateway_listeners: Vec<TcpListener>,
    admin: Arc<Admin>,
    admin_listeners: Vec<TcpListener>,
    shutdown: CancellationToken,
    dev_secret: bool,
}

impl Host {
    pub(super) async fn open(settings: Settings) -> anyhow::Result<Self> {
        telemetry::start(settings.log_format)?;
        let config = Config::try_from(settings)?;
        let settings = &config.settings;
        let shutdown = shutdown::watch()?;
        let data = DataFolder::take(&settings.data)?;
        let auth = auth(settings, data.path())?;
        check_exposure(&[settings.gateway], &auth).map_err(anyhow::Error::msg)?;
        let gateway_listeners = bind(settings.gateway, "--gateway").await?;
        let admin_listeners = bind(settings.admin, "--admin").await?;

        let (windows_config, compiler) = (config.windows.clone(), Compiler::this_program()?);
        let windows =
            tokio::task::spawn_blocking(move || Registry::open(windows_config, compiler)).await??;
        windows.restore().await?;
        let dev_secret = matches!(auth.keys, KeySource::DevSecret(_));
        let mut gateway_config = GatewayConfig::new(&settings.routes, auth);
        gateway_config.limits.drain_timeout = settings.drain;
        let gateway = Gateway::new(gateway_config, Arc::new(FrontDoor(windows.clone())));
        let admin = Arc::new(Admin {
            token: token::load_or_create(data.path())?,
            windows: windows.clone(),
            metrics: Metrics::new(&gateway),
            gateway: gateway.clone(),
            readiness: Readiness::default(),
        });
        Ok(Host {
            windows,
            config,
            data,
            gateway,
            gateway_listeners,
            admin,
            admin_listeners,
            shutdown,
            dev_secret,
        })
    }

    /// Serves until a signal, then drains and ends.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Host {
            windows,
            config,
            data,
            gateway,
            gateway_listeners,
            admin,
            admin_listeners,
            shutdown,
            ..
        } = self;
        let readiness = admin.readiness.clone();
        readiness.set(true);
        // The admin API stays until the gateway is done, so that one can watch it drain.
        let admin_shutdown = CancellationToken::new();
        let admin = tokio::spawn(admin::serve(admin_listeners, admin, admin_shutdown.clone()));
        let serving = tokio::spawn(gateway.serve(gateway_listeners, shutdown.clone()));
        shutdown.cancelled().await;
        readiness.set(false);
        let cut = serving
            .await
            .context("the gateway ended by a fault of its own")?;
        if cut > 0 {
            tracing::warn!(connections = cut, "cut at the drain deadline");
        }
        let drain = config.settings.drain + END_TIME;
        if tokio::time::timeout(drain, windows.drain_all())
            .await
            .is_err()
        {
            tracing::warn!("ended with requests still at work");
        }
        admin_shutdown.cancel();
        let _ = tokio::time::timeout(END_TIME, admin).await;
        drop(data);
        tracing::info!("ended");
        Ok(())
    }

    /// What is open where, and what to try next.
    pub(super) async fn banner(&self) -> String {
        let mut text = format!("hms {} is open\n", env!("CARGO_PKG_VERSION"));
        text.push_str(&format!("  gateway  {}\n", url(&self.gateway_listeners)));
        text.push_str(&format!("  admin    {}\n", url(&self.admin_listeners)));
        text.push_str(&format!("  data     {}\n", self.data.path().display()));
        text.push_str(&format!(
            "  routes   {}\n",
            self.config.settings.routes.display()
        ));
        for status in self.windows.statuses().await {
            let number = status.live.map_or(0, |release| release.number);
            text.push_str(&format!(
                "  window   {} release {number} {}\n",
                status.name, status.state
            ));
        }
        text.push_str(&self.to_try());
        text
    }
}

/// Whose tokens the settings say to believe.
fn auth(settings: &Settings, data: &Path) -> anyhow::Result<AuthConfig> {
    let keys = match &settings.jwks {
        Some(source) => KeySource::Jwks(
            JwksSource::parse(source)
                .map_err(anyhow::Error::msg)
                .context("--jwks")?,
        ),
        None => KeySource::DevSecret(
            dev_secret::load_or_create(data).context("the development secret")?,
        ),
    };
    Ok(AuthConfig {
        issuer: settings.issuer.clone(),
        audience: settings.audience.iter().cloned().collect(),
        ..AuthConfig::new(keys)
    })
}

/// The address as a URL. The first listener is the one that was asked for; a second is its twin on `::1`.
fn url(listeners: &[TcpListener]) -> String {
    match listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
    {
        Some(addr) => format!("http://{addr}"),
        None => "nowhere".into(),
    }
}

impl Host {
    fn to_try(&self) -> String {
        let gateway = url(&self.gateway_listeners);
        let admin = url(&self.admin_listeners);
        let data = self.data.path().display();
        let hms = std::env::args().next().unwrap_or_else(|| "hms".into());
        let mut text = String::from("\nto try:\n");
        if self.dev_secret {
            text.push_str(&format!(
                "  TOKEN=$({hms} token --data {data} --user alice --scope payments.write --scope payments.read \\\n\
                 \x20                  --scope docs.write --scope docs.read)\n"
            ));
        } else {
            text.push_str("  TOKEN=…    # from your identity provider: its keys are configured\n");
        }
        text.push_str(&format!(
            "  curl -H \"Authorization: Bearer $TOKEN\" -d '{{\"amount\":42,\"purpose\":\"FOIA copy fee\"}}' \\\n\
             \x20      {gateway}/api/v1/payments\n\
             \x20 curl -H \"Authorization: Bearer $TOKEN\" -F \"file=@./my_photo.jpg\" {gateway}/api/v1/docs\n\
             \x20 {hms} deploy payments.wasm --admin {} --data {data}\n\
             \x20 curl -X PUT -H \"Authorization: Bearer $(cat {data}/admin.token)\" --data-binary @payments.wasm \\\n\
             \x20      {admin}/windows/payments\n",
            admin.trim_start_matches("http://"),
        ));
        text
    }
}
