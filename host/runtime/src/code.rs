//! A compiled, linked component, from which instances are created. It is loaded once, however many
//! windows use it, so these windows also share the slots of the pool that are fast for it.

use super::cpu_share::Clock;
use super::engine::TABLES_PER_INSTANCE;
use super::inspect;
use super::instance::InstanceState;
use super::interfaces::{otel, stubs, transactions};
use super::linker::Experimental;
use super::native;
use super::waiters::Waiters;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// A component ready to create instances, and what they need of the engine.
#[derive(Clone)]
pub struct Code {
    pub(super) linked: Arc<Linked>,
    pub(super) engine: Engine,
    /// Permits for idle instances, over all windows.
    pub(super) room: Arc<Semaphore>,
    /// The instances that wait for slow clients, over all windows.
    pub(super) waiters: Arc<Waiters>,
    /// The epochs of the engine.
    pub(super) clock: Clock,
    /// The threads for instances that do not belong on a lane.
    pub(super) slow_pool: Handle,
}

/// A component in memory. It holds nothing of a window, and may serve many.
pub(super) struct Linked {
    pub pre: InstancePre<InstanceState>,
    /// Slots of the pool that one instance takes: 1 for most, more for a component with many core
    /// modules.
    pub weight: u32,
    /// Whether it imports transactions, whose events carry the trace of the request in hand.
    pub transacts: bool,
    /// Whether it may ask for the trace of the request in hand.
    pub traces: bool,
}

/// Why native code was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file was not written by our compiler, or was written for another engine: it must be
    /// compiled again.
    #[error("the native code {path} cannot be used: {why}")]
    Native {
        /// The file of the native code.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The component imports something that the host does not provide.
    #[error("{0}")]
    Link(String),
}

/// The components in memory, by the file of their native code, whose name identifies component and
/// engine. A component leaves memory with its last release.
#[derive(Default)]
pub(super) struct Loaded(Mutex<HashMap<Key, Weak<Linked>>>);

/// The file, and whether imports that no window is given are linked as functions that end the
/// request. The same code is mapped twice where windows differ in that, which is rare.
type Key = (PathBuf, bool);

impl Loaded {
    /// The component of that file, which has the digest `component`. Loads it if necessary.
    pub(crate) fn get(
        &self,
        engine: &Engine,
        linker: &Linker<InstanceState>,
        compiled: &Path,
        component: &str,
        trap_unknown: bool,
        experimental: Experimental,
    ) -> Result<Arc<Linked>, LoadError> {
        let key = (compiled.to_owned(), trap_unknown);
        if let Some(linked) = self.entries().get(&key).and_then(Weak::upgrade) {
            return Ok(linked);
        }
        // Not under the lock: at a start many are loaded side by side. Of two that load the same,
        // the later takes the earlier's.
        let fresh = load(
            engine,
            linker,
            compiled,
            component,
            trap_unknown,
            experimental,
        )?;
        let fresh = Arc::new(fresh);
        let mut entries = self.entries();
        if let Some(linked) = entries.get(&key).and_then(Weak::upgrade) {
            return Ok(linked);
        }
        entries.retain(|_, linked| linked.strong_count() > 0);
        entries.insert(key, Arc::downgrade(&fresh));
        Ok(fresh)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Weak<Linked>>> {
        self.0.lock()
    }
}

fn load(
    engine: &Engine,
    linker: &Linker<InstanceState>,
    compiled: &Path,
    component: &str,
    trap_unknown: bool,
    experimental: Experimental,
) -> Result<Linked, LoadError> {
    let unusable = |why: String| LoadError::Native {
        path: compiled.display().to_string(),
        why,
    };
    let file = File::open(compiled).map_err(|error| unusable(error.to_string()))?;
    native::check(&file, component).map_err(|damage| unusable(damage.to_string()))?;
    // The file that was checked is the one that is mapped, whatever is under its name by now.
    let checked = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let checked = match checked.exists() {
        true => checked.as_path(),
        false => compiled,
    };
    // SAFETY: native code is trusted as our own. The only files that come here were written by our
    // compiler child into DATA/artifacts/native, a folder of mode 0700 into which nothing that was
    // uploaded is ever put, and this one is whole by its seal. It is mapped, not copied, so that
    // windows share its pages and their memory images with the page cache: a page that is read from
    // a failing disk for a second time after the check is not checked again.
    #[expect(unsafe_code, reason = "native code from our own compiler child")]
    let component = unsafe { Component::deserialize_file(engine, checked) }
        .map_err(|error| unusable(format!("{error:#}")))?;
    let weight = component.resources_required().map_or(1, |needed| {
        needed
            .num_tables
            .div_ceil(TABLES_PER_INSTANCE)
            .max(needed.num_memories.div_ceil(TABLES_PER_INSTANCE))
            .max(1)
    });
    let kind = component.component_type();
    let imports = |is_it: fn(&str) -> bool| kind.imports(engine).any(|(import, _)| is_it(import));
    let mut linker = linker.clone();
    let pre = stubs::add(&mut linker, &component, experimental, trap_unknown)
        .and_then(|()| linker.instantiate_pre(&component));
    Ok(Linked {
        pre: pre.map_err(|error| {
            let imports = kind.imports(engine).map(|(import, _)| import);
            let flag = inspect::needed_flag(imports, experimental);
            LoadError::Link(format!("{error:#}{flag}"))
        })?,
        weight,
        transacts: imports(transactions::is_it),
        traces: imports(otel::is_tracing),
    })
}

#[cfg(test)]
mod tests {
    use super::super::engine::{EngineConfig, Runtime, precompile};
    use super::*;

    fn runtime() -> Runtime {
        Runtime::new(&EngineConfig {
            instances: 1,
            ..EngineConfig::default()
        })
        .unwrap()
    }

    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[tokio::test]
    async fn component_is_loaded_once_for_all_windows_and_unloaded_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["one", "other"].map(|name| folder.path().join(name));
        for file in &files {
            native::write(file, "empty", &precompile(EMPTY_COMPONENT, false).unwrap()).unwrap();
        }
        let runtime = runtime();
        let [code, other] = files
            .each_ref()
            .map(|file| runtime.load(file, "empty", false).unwrap());
        assert!(!Arc::ptr_eq(&code.linked, &other.linked));

        // Its windows need the file no more.
        std::fs::remove_file(&files[0]).unwrap();
        let again = runtime.load(&files[0], "empty", false).unwrap();
        assert!(Arc::ptr_eq(&code.linked, &again.linked));
        drop((code, again));
        assert!(runtime.load(&files[0], "empty", false).is_err());
        assert!(runtime.load(&files[1], "empty", false).is_ok());
    }

    #[tokio::test]
    async fn native_code_without_a_matching_seal_is_never_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("native");
        let code = precompile(EMPTY_COMPONENT, false).unwrap();
        let runtime = runtime();
        let refused = |component| match runtime.load(&file, component, false).err() {
            Some(LoadError::Native { why, .. }) => why,
            _ => panic!("it was loaded"),
        };
        std::fs::write(&file, &code).unwrap();
        assert!(refused("empty").contains("no seal"));
        std::fs::remove_file(&file).unwrap();
        native::write(&file, "empty", &code).unwrap();
        assert!(refused("another").contains("SHA-256"));
        assert!(runtime.load(&file, "empty", false).is_ok());
    }
}
