//! The locks that [`super::swap_cell`] is made of; its tests name others.

pub(super) use parking_lot::RwLock;
pub(super) use std::sync::Arc;
