//! From a record to what it says is open: after a restart, a start, a rollback.

use super::deploy_queue::Asker;
use super::record::WindowRecord;
use super::registry::Registry;
use super::release::Release;
use super::serving::Serving;
use super::state::State;
use super::window::Window;
use super::{ChangeError, ReleaseRecord, WindowName};
use crate::runtime::{Code, Instances, LoadError};
use futures_util::{StreamExt, stream};
use std::path::Path;
use std::sync::Arc;

/// Windows brought back at once. 16: while some wait for a compiler, those that need none go on.
const AT_ONCE: usize = 16;

impl Registry {
    /// Brings every recorded window back. One that cannot be loaded, or whose record cannot be
    /// read, is left unavailable, with the reason in the log, and does not keep the others from
    /// opening.
    ///
    /// # Errors
    /// When the records cannot be listed.
    pub async fn restore(self: &Arc<Self>) -> Result<(), ChangeError> {
        let windows = stream::iter(self.records.all().await?);
        windows
            .for_each_concurrent(AT_ONCE, |(name, record)| async move {
                match record {
                    Ok(record) => self.restore_window(&name, record).await,
                    Err(error) => {
                        // So that `hms remove` finds it.
                        let window = self.window_or_new(&name, WindowRecord::default());
                        if let ChangeError::Record { why, .. } = &error {
                            window.recorded.set_unreadable(why);
                        }
                        tracing::error!(window = %name, "the window stays closed: {error}");
                    }
                }
            })
            .await;
        self.clear_unused().await;
        Ok(())
    }

    async fn restore_window(self: &Arc<Self>, name: &WindowName, record: WindowRecord) {
        let window = self.window_or_new(name, record.clone());
        let Some(mut change) = self.change_of(&window).await else {
            return;
        };
        if record.removing {
            match change.finish_removal().await {
                true => tracing::info!(window = %name, "its removal is finished"),
                false => tracing::error!(window = %name, "its removal is not finished yet"),
            }
            return;
        }
        if record.releases.is_empty() {
            // Limits that were set before the first deploy.
            return;
        }
        if record.stopped {
            return change.open(Serving::Stopped);
        }
        let mut next = record.clone();
        let mut loaded = self.load_serving(&window, &mut next).await;
        if let Err(error) = &loaded
            && let Some(earlier) = self.load_earlier(&window, &mut next, error).await
        {
            loaded = Ok(earlier);
        }
        let serving = match loaded {
            Ok(serving) => serving,
            Err(error) => {
                let cure = match error.is_of_the_release() {
                    true => "deploy it again, or roll it back".to_owned(),
                    false => format!("`hms start {name}` tries again"),
                };
                return tracing::error!(
                    window = %name,
                    release = record.live,
                    "the window stays closed: {error}; {cure}"
                );
            }
        };
        match next == record {
            true => change.open(serving),
            false => change.enforce(next, Some(serving)).await,
        }
    }

    /// Loads the live release of a record, and its candidate with a trial that begins anew. A
    /// candidate that cannot be loaded is no reason to close the window: its canary ends, which
    /// `record` then says. Where that is a fault of the host, which may pass, the canary stays in
    /// the record, and its candidate gets no requests.
    pub(super) async fn load_serving(
        self: &Arc<Self>,
        window: &Arc<Window>,
        record: &mut WindowRecord,
    ) -> Result<Serving, ChangeError> {
        let live = self.load(window, record, record.live).await?;
        let mut canary = None;
        if let Some(running) = record.canary {
            match self.load(window, record, running.number).await {
                Ok(release) => canary = Some(self.canary(window, release, &running)),
                Err(error) if !error.is_of_the_release() => tracing::error!(
                    window = %window.name,
                    release = running.number,
                    "the live release serves all requests: {error}; a restart of the host tries the canary again, \
                     `hms abort {}` ends it",
                    window.name
                ),
                Err(error) => {
                    tracing::error!(
                        window = %window.name,
                        release = running.number,
                        "the canary ends, the live release serves: {error}"
                    );
                    record.end_canary(&format!("aborted: it could not be loaded: {error}"));
                }
            }
        }
        Ok(Serving::Open { live, canary })
    }

    /// The newest earlier release that can be loaded, where the live one cannot and was deployed to
    /// be given up then. `record` says so afterwards.
    async fn load_earlier(
        self: &Arc<Self>,
        window: &Arc<Window>,
        record: &mut WindowRecord,
        error: &ChangeError,
    ) -> Option<Serving> {
        let wished = record.release(record.live).is_some_and(|r| r.fallback);
        if !wished || record.canary.is_some() || !error.is_of_the_release() {
            return None;
        }
        let mut next = record.clone();
        let mut why = error.to_string();
        while let Some(before) = next.before_live() {
            tracing::error!(window = %window.name, from = next.live, to = before, "falls back: {why}");
            next.fall_back_to(before, &why);
            match self.load_serving(window, &mut next).await {
                Ok(serving) => {
                    *record = next;
                    return Some(serving);
                }
                Err(error) if error.is_of_the_release() => why = error.to_string(),
                Err(error) => {
                    tracing::error!(window = %window.name, release = before, "it cannot be fallen back to now: {error}");
                    return None;
                }
            }
        }
        None
    }

    async fn load(
        self: &Arc<Self>,
        window: &Window,
        record: &WindowRecord,
        number: u64,
    ) -> Result<Arc<Release>, ChangeError> {
        let Some(release) = record.release(number).cloned() else {
            let kept: Vec<String> = record
                .releases
                .iter()
                .map(|release| release.number.to_string())
                .collect();
            return Err(ChangeError::NoRelease {
                window: window.name.clone(),
                number,
                kept: kept.join(", "),
            });
        };
        self.load_release(window, release).await
    }

    async fn load_release(
        self: &Arc<Self>,
        window: &Window,
        release: ReleaseRecord,
    ) -> Result<Arc<Release>, ChangeError> {
        let instances = self.instances(window, &release.digest).await?;
        Ok(Release::new(release, instances, State::Recorded))
    }

    /// Makes the instances of the component with that digest for `window`. Native code that cannot be
    /// used (damaged, or of another engine) is compiled anew.
    pub(super) async fn instances(
        self: &Arc<Self>,
        window: &Window,
        digest: &str,
    ) -> Result<Instances, ChangeError> {
        let (artifacts, compatibility) = (&self.artifacts, &self.compatibility);
        let host = &Asker::HOST;
        let compiled = artifacts.compiled(digest, compatibility, host).await?;
        let mut code = self.load_code(&compiled, digest).await;
        if let Err(LoadError::Native { .. }) = code {
            let _mending = artifacts.mending().await;
            // Another window with this component may have had it mended.
            code = self.load_code(&compiled, digest).await;
            if let Err(error @ LoadError::Native { .. }) = &code {
                tracing::error!(window = %window.name, "{error}: it is compiled anew");
                let compiled = artifacts.compiled_anew(digest, compatibility).await?;
                code = self.load_code(&compiled, digest).await;
            }
        }
        if let Err(error @ LoadError::Native { .. }) = &code {
            // What was compiled just now cannot be read.
            return Err(ChangeError::Internal(error.to_string()));
        }
        let link = |error: String| ChangeError::Link(error);
        let code = code.map_err(|error| link(error.to_string()))?;
        Instances::new(code, self.instance_context(window))
            .map_err(|error| link(format!("{error:#}")))
    }

    /// Beside the request threads: the whole file is read.
    async fn load_code(self: &Arc<Self>, compiled: &Path, digest: &str) -> Result<Code, LoadError> {
        let (registry, path) = (self.clone(), compiled.to_owned());
        let component = digest.to_owned();
        let loading = tokio::task::spawn_blocking(move || registry.runtime.load(&path, &component));
        loading.await.unwrap_or_else(|error| {
            Err(LoadError::Link(format!(
                "loading ended by a fault of its own: {error}"
            )))
        })
    }
}
