//! The pointer that a swap turns. Small, and over the locks that `super::sync` names, so that its tests can run
//! it under a scheduler that tries the interleavings.

use super::sync::{Arc, RwLock};

/// Holds one value; readers lease it, a writer replaces it.
pub(crate) struct SwapCell<T>(RwLock<Arc<T>>);

impl<T> SwapCell<T> {
    pub(crate) fn new(value: T) -> Self {
        SwapCell(RwLock::new(Arc::new(value)))
    }

    /// The value as it is now. It lives until the last such hold on it is gone.
    pub(crate) fn get(&self) -> Arc<T> {
        self.0.read().clone()
    }

    /// Puts `value` in place and gives what was there. Whoever comes after gets the new one.
    pub(crate) fn swap(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let mut place = self.0.write();
        std::mem::replace(&mut *place, value)
    }
}
