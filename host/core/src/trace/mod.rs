//! What is known of the time of a request, of a delivery and of a deploy.
//!
//! [`context`] is W3C Trace Context: which trace something belongs to, as a header field.
//! [`record`] is what each request carries through the host: whoever does a part of the work
//! ([`kind`]) notes there, by the handles of [`spans`], when it began and ended; [`details`] is
//! what guests say of their own parts beside. It is taken always, and takes no lock. Who keeps it,
//! shows it and exports it is hms-telemetry. [`logged`] says to whom it may concern which work a
//! line of the log is about.

pub mod context;
pub mod details;
pub mod kind;
pub mod logged;
pub mod record;
pub mod spans;

pub use context::{TraceContext, TraceId, child_of};
pub use details::{Attribute, Role, SpanDetails};
pub use kind::SpanKind;
pub use record::{Finished, MAX_SPANS, Outline, Recorded, SpanLog, Start, Used, What};
pub use spans::{Span, Spans};
