//! Connections, before anything is read of them as HTTP.
//!
//! [`connection_limit`] decides who may have one, and who loses one where they are short. [`lanes`]
//! are the threads that connections are given to. [`pace`] ends what its client reads too slowly, and
//! [`linger`] closes a connection so that its last answer arrives.

pub mod connection_limit;
pub mod lanes;
pub mod linger;
pub mod pace;
