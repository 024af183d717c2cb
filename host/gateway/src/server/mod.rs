//! From the socket to hyper and back: a client gets a permit and a lane, and its bytes are passed
//! on only once they have a single reading.
//!
//! `listen` accepts and `connection` serves, through `tls` if there is a certificate, and after
//! `proxy`, the PROXY header of a trusted proxy. `sniff` bounds the wait for the first bytes, and
//! `strict` holds each HTTP/1 head back until it is complete.

mod connection;

pub(crate) use connection::serve;
