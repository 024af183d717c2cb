//! From the socket to hyper and back: a client gets a permit and a lane, and its bytes are passed
//! on only once they have a single reading.
//!
//! `connection` puts the parts together, which are in [`hms_net`]: accepting, the PROXY header of a
//! trusted proxy, TLS, the bounded wait for the first bytes, and strict HTTP/1 heads.

mod connection;

pub(crate) use connection::serve;
