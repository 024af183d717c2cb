//! From the socket to hyper, and back: whoever connects is given a place and a lane, and what comes
//! is passed up only once it has one reading.
//!
//! `listen` accepts and `connection` serves, through `tls` where there is a certificate and behind
//! `proxy`, a PROXY header of a trusted proxy. `sniff` bounds the wait for the first bytes, and
//! `strict` holds each HTTP/1 head back until it is whole.

mod connection;
mod listen;
mod proxy;
mod sniff;
pub(crate) mod strict;
mod tls;

pub(crate) use connection::serve;
pub use listen::{Listeners, bind, parse_address};
pub use tls::Certificate;
