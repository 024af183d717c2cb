//! The path of a request through a window.
//!
//! [`serving`] is what is there: nothing, or the live release, with a candidate for those that the
//! [`share`] has get it. It is behind a pointer, the [`swap_cell`], so that no request is between
//! two releases. [`mod@serve`] takes a request from its lease to the last byte of its answer: the
//! [`breaker`] of the release lets it in, and [`admission`] gives it an instance's permit in its
//! turn, or says why the window is [`unavailable`]. [`callers`] counts the calls of other windows,
//! [`measured`] all requests of each release.

pub(super) mod admission;
pub(super) mod breaker;
pub(super) mod callers;
pub(super) mod measured;
pub(super) mod serve;
pub(super) mod serving;
pub(super) mod share;
pub(super) mod swap_cell;
#[cfg(test)]
mod swap_cell_tests;
mod sync;
pub(super) mod unavailable;
