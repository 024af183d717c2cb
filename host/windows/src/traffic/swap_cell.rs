//! The pointer that a switch replaces. It is small and uses the locks of `super::sync`, so that its
//! tests can run it under a scheduler that explores interleavings.

use super::sync::{Arc, RwLock};

/// Holds one value; readers lease it, a writer replaces it.
pub(crate) struct SwapCell<T>(RwLock<Arc<T>>);

impl<T> SwapCell<T> {
    pub(crate) fn new(value: T) -> Self {
        SwapCell(RwLock::new(Arc::new(value)))
    }

    /// The current value. It lives until its last holder drops it.
    pub(crate) fn get(&self) -> Arc<T> {
        self.0.read().clone()
    }

    /// Replaces the value by `value` and returns the old one. Later readers get the new one.
    pub(crate) fn swap(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let mut place = self.0.write();
        std::mem::replace(&mut *place, value)
    }
}
