//! The locks that [`super::slot`] is made of; its tests name others.

pub(super) use std::sync::{Arc, RwLock};
