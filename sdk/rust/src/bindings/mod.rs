//! Bindings of the interfaces that `wasip3` lacks, as wit-bindgen generates them from `wit/`. One
//! world each, so that a component imports only what it uses. Committed, so that a window is built
//! without the generator. Do not edit them: the test in `tests/bindings` of the repository writes
//! and compares them.

#![allow(warnings, clippy::all, reason = "generated")]

#[rustfmt::skip]
pub(crate) mod chain;
#[rustfmt::skip]
pub(crate) mod configuration;
#[rustfmt::skip]
pub(crate) mod events;
#[cfg(target_family = "wasm")]
#[rustfmt::skip]
pub(crate) mod spans;
#[rustfmt::skip]
pub(crate) mod storage;
