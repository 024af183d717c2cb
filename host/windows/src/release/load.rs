//! Loads a recorded release so that it can serve.

use crate::ChangeError;
use crate::record::{ReleaseRecord, WindowRecord};
use crate::registry::Registry;
use crate::release::Release;
use crate::release::deploy_queue::Asker;
use crate::traffic::admission::Ask;
use crate::window::Window;
use hms_runtime::{Code, Instances, LoadError};
use std::path::Path;
use std::sync::Arc;

/// Loads a release of the record, for `window`.
///
/// # Errors
/// If there is none of that number, or it cannot be loaded.
pub(crate) async fn release(
    registry: &Arc<Registry>,
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
    let instances = instances(registry, window, &release).await?;
    Ok(Release::new(release, instances, &window.measures))
}

/// Starts one instance.
///
/// # Errors
/// Why it does not start, or gets no permit.
pub(crate) async fn try_start(window: &Window, instances: &Instances) -> Result<(), ChangeError> {
    let permit = window.queue.acquire(Ask::plain(instances.weight())).await;
    let _permit = permit.map_err(|busy| ChangeError::Try(busy.into()))?;
    instances.try_start().await.map_err(ChangeError::Try)
}

/// Makes the instances of `release` for `window`. Native code that cannot be
/// used (damaged, or of another engine) is compiled anew.
pub(crate) async fn instances(
    registry: &Arc<Registry>,
    window: &Window,
    release: &ReleaseRecord,
) -> Result<Instances, ChangeError> {
    let digest = release.digest.as_str();
    let (artifacts, compatibility) = (&registry.artifacts, &registry.compatibility);
    let host = &Asker::HOST;
    let compiled = artifacts.compiled(digest, compatibility, host).await?;
    let mut code = load_code(registry, &compiled, release).await;
    if let Err(LoadError::Native { .. }) = code {
        let _mending = artifacts.mending().await;
        // Another window with this component may have repaired it.
        code = load_code(registry, &compiled, release).await;
        if let Err(error @ LoadError::Native { .. }) = &code {
            tracing::error!(window = %window.name, "{error}: recompiling");
            let compiled = artifacts.compiled_anew(digest, compatibility).await?;
            code = load_code(registry, &compiled, release).await;
        }
    }
    if let Err(error @ LoadError::Native { .. }) = &code {
        // The code that was compiled just now cannot be read.
        return Err(ChangeError::Internal(error.to_string()));
    }
    let link = |error: String| ChangeError::Link(error);
    let code = code.map_err(|error| link(error.to_string()))?;
    Instances::new(code, registry.instance_context(window, release.number))
        .map_err(|error| link(format!("{error:#}")))
}

/// Outside of the request threads: the whole file is read.
async fn load_code(
    registry: &Arc<Registry>,
    compiled: &Path,
    release: &ReleaseRecord,
) -> Result<Code, LoadError> {
    let (registry, path) = (registry.clone(), compiled.to_owned());
    let (component, trap_unknown) = (release.digest.clone(), release.trap_unknown);
    let loading =
        tokio::task::spawn_blocking(move || registry.runtime.load(&path, &component, trap_unknown));
    loading.await.unwrap_or_else(|error| {
        Err(LoadError::Link(format!(
            "loading ended by a fault of its own: {error}"
        )))
    })
}
