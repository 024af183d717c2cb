//! Code: a compiled component, linked, from which clerks are made. In however many windows a component is, it is loaded once: so
//! its windows also share the places in the pool that are quick for it.

use super::clerk::Clerk;
use super::engine::TABLES_PER_CLERK;
use super::turns::Clock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// A component ready to make clerks, and what they need of the engine.
#[derive(Clone)]
pub struct Code {
    pub(super) linked: Arc<Linked>,
    pub(super) engine: Engine,
    /// Places for clerks that have nothing to do, for all windows.
    pub(super) room: Arc<Semaphore>,
    /// The epochs of the engine.
    pub(super) clock: Clock,
    /// Where clerks run that do not belong on a lane.
    pub(super) workroom: Handle,
}

/// A component in memory. It holds nothing of a window, of which it may serve many.
pub(super) struct Linked {
    pub pre: InstancePre<Clerk>,
    /// Places in the pool that one instance takes: 1 for most, more for a component of many core modules.
    pub weight: u32,
}

/// The components in memory by the file of their native code, whose name says which component for which engine. A component
/// leaves memory with the last release of it.
#[derive(Default)]
pub(super) struct Loaded(Mutex<HashMap<PathBuf, Weak<Linked>>>);

impl Loaded {
    /// The component of that file, loaded now unless it is.
    pub fn get(
        &self,
        engine: &Engine,
        linker: &Linker<Clerk>,
        compiled: &Path,
    ) -> anyhow::Result<Arc<Linked>> {
        if let Some(linked) = self.entries().get(compiled).and_then(Weak::upgrade) {
            return Ok(linked);
        }
        // Not under the lock: at a start many are loaded side by side. Of two that load the same, the later takes the earlier's.
        let fresh = Arc::new(load(engine, linker, compiled)?);
        let mut entries = self.entries();
        if let Some(linked) = entries.get(compiled).and_then(Weak::upgrade) {
            return Ok(linked);
        }
        entries.retain(|_, linked| linked.strong_count() > 0);
        entries.insert(compiled.to_owned(), Arc::downgrade(&fresh));
        Ok(fresh)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Weak<Linked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(engine: &Engine, linker: &Linker<Clerk>, compiled: &Path) -> anyhow::Result<Linked> {
    // SAFETY: native code is trusted as our own. The only files that come here were written by our compiler
    // child into DATA/artifacts/native, a folder of mode 0700 into which nothing that was uploaded is ever put.
    #[expect(unsafe_code, reason = "native code from our own compiler child")]
    let component = unsafe { Component::deserialize_file(engine, compiled) }?;
    let weight = component.resources_required().map_or(1, |needed| {
        needed
            .num_tables
            .div_ceil(TABLES_PER_CLERK)
            .max(needed.num_memories.div_ceil(TABLES_PER_CLERK))
            .max(1)
    });
    Ok(Linked {
        pre: linker.instantiate_pre(&component)?,
        weight,
    })
}

#[cfg(test)]
mod tests {
    use super::super::engine::{EngineConfig, Runtime, precompile};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_component_is_loaded_once_for_all_its_windows_and_leaves_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["one", "other"].map(|name| folder.path().join(name));
        let empty_component = b"\0asm\x0d\0\x01\0";
        for file in &files {
            std::fs::write(file, precompile(empty_component).unwrap()).unwrap();
        }
        let runtime = Runtime::new(&EngineConfig {
            clerks: 1,
            ..EngineConfig::default()
        })
        .unwrap();
        let [code, other] = files.each_ref().map(|file| runtime.load(file).unwrap());
        assert!(!Arc::ptr_eq(&code.linked, &other.linked));

        // Its windows need the file no more.
        std::fs::remove_file(&files[0]).unwrap();
        let again = runtime.load(&files[0]).unwrap();
        assert!(Arc::ptr_eq(&code.linked, &again.linked));
        drop((code, again));
        assert!(runtime.load(&files[0]).is_err());
        assert!(runtime.load(&files[1]).is_ok());
    }
}
