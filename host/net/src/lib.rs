//! Connections: those that clients make, before anything is read of them as HTTP, and those that
//! the host makes itself.
//!
//! [`connection_limit`] decides who may have one, and who loses one where they are short. [`lanes`]
//! are the threads that connections are given to. [`pace`] ends what its client reads too slowly, and
//! [`linger`] closes a connection so that its last answer arrives. [`client`] is the host as a
//! client of HTTP services. [`pem`] reads certificates and keys, for both sides.

// The documentation is for whoever carries on, and built with its private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod client;
pub mod connection_limit;
pub mod lanes;
pub mod linger;
pub mod pace;
pub mod pem;
