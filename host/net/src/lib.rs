//! Connections: those that clients make, up to the first head that hyper reads, and those that the
//! host makes itself.
//!
//! [`listen`] accepts. [`connection_limit`] decides who may have a connection, and who loses one
//! where they are short. [`lanes`] are the threads that connections are given to. What is read and
//! written then passes through a stack of streams, from the socket up: [`proxy_protocol`] says who
//! is behind a proxy, [`pace`] ends what its client reads too slowly, [`certificate`] is for TLS,
//! [`sniff`] bounds the wait for the first bytes, [`strict`] holds each HTTP/1 head back until it
//! is whole and has one reading, and [`linger`] closes a connection so that its last answer
//! arrives.
//!
//! [`client`] is the host as a client of HTTP services. [`pem`] reads certificates and keys, for
//! both sides.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod certificate;
pub mod client;
pub mod connection_limit;
pub mod lanes;
pub mod linger;
pub mod listen;
pub mod pace;
pub mod pem;
pub mod proxy_protocol;
pub mod sniff;
pub mod strict;
mod validity;
