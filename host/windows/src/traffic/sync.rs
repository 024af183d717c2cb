//! The locks of [`super::swap_cell`]; its tests use others.

pub(super) use parking_lot::RwLock;
pub(super) use std::sync::Arc;
