//! The path of a request through a window.
//!
//! [`serving`] is what serves: nothing, or the live release, with a candidate for those that
//! [`share`] assigns to it. It is behind a pointer, the [`swap_cell`], so that no request is
//! between two releases. [`mod@serve`] takes a request from its lease to the last byte of its
//! answer: the [`breaker`] of the release admits it, and [`admission`] gives it a permit for an
//! instance in its turn, or [`unavailable`] says why not.

pub(super) mod admission;
pub(super) mod breaker;
pub(super) mod serve;
pub(super) mod serving;
pub(super) mod share;
pub(super) mod swap_cell;
#[cfg(test)]
mod swap_cell_tests;
mod sync;
pub(super) mod unavailable;
