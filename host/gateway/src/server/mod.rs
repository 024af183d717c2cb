//! From the socket to hyper, and back: whoever connects is given a place and a lane, and what comes
//! is passed up only once it has one reading. The parts that know nothing of the gateway, from
//! listening to the strict reading of heads, are in hms-net; `connection` puts them together.

mod connection;

pub(crate) use connection::serve;
