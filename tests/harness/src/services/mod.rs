//! Services that windows call: real HTTP servers, on port 0, by HTTP/1 or 2, with TLS or without.
//!
//! - [`server`] accepts, records what it got, and goes wrong as the test wants it: slow, failing,
//!   resetting, huge.
//! - [`authority`] is a certificate authority of the tests' own.
//! - [`sms`] is an SMS gateway and [`card`] a card processor. Both check the key that they are
//!   shown,
//!   and honour `Idempotency-Key`.

pub mod authority;
pub mod card;
pub mod server;
pub mod sms;

pub use authority::Authority;
pub use card::CardProcessor;
pub use server::{Fault, Reply, Seen, Server};
pub use sms::SmsGateway;

#[cfg(test)]
mod tests;
