//! What the other crates of the host share, and that uses none of them.
//!
//! [`mod@body`] is the one body type. [`error`] is the failure of a request: the table of all there
//! are, and the type that travels. [`call`] is the trait by which the gateway calls windows, and
//! [`next`] the rest of a request's chain, for a middleware. [`limits`] is the table of a window's
//! limits, [`window_name`] what a window may be called; [`outgoing`] is how a window calls out.
//! [`events`] is what their events ask of the host.
//! [`path`] normalises paths and matches them with patterns; [`headers`], [`fields`] and [`trace`]
//! are about header fields. [`framing`] says which answers HTTP can carry; [`stream_idle`] and
//! [`stopwatch`] are about time. [`mod@delegate`] writes the methods that a wrapper hands on
//! unchanged. [`units`] parses and prints sizes, times and shares; [`printable`] makes foreign
//! strings harmless; [`reload`] is what a SIGHUP reads again.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod body;
pub mod call;
pub mod delegate;
pub mod error;
pub mod events;
pub mod fields;
pub mod framing;
pub mod headers;
pub mod limits;
pub mod measures;
pub mod next;
pub mod outgoing;
pub mod path;
pub mod printable;
pub mod reload;
pub mod stopwatch;
pub mod stream_idle;
pub mod trace;
pub mod units;
pub mod window_name;
