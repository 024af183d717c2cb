//! Connections, before anything is read of them as HTTP.
//!
//! [`connection_limit`] decides who may have one, and who loses one where they are short. [`lanes`]
//! are the threads that connections are given to. [`pace`] ends what its client reads too slowly, and
//! [`linger`] closes a connection so that its last answer arrives.

// The documentation is for whoever carries on, and built with its private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod connection_limit;
pub mod lanes;
pub mod linger;
pub mod pace;
