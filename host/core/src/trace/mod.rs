//! What is known of the time of a request, of a delivery and of a deploy.
//!
//! [`context`] is W3C Trace Context: which trace something belongs to, as a header field. [`spans`]
//! is the record that each request carries through the host: whoever does a part of the work notes
//! there when it began and ended. It is taken always, allocates nothing and takes no lock. Who
//! keeps it, shows it and exports it is hms-telemetry.

pub mod context;
pub mod spans;

pub use context::{TraceContext, TraceId, child_of};
pub use spans::{
    Finished, MAX_SPANS, Outline, Recorded, Span, SpanKind, SpanLog, Spans, Start, What,
};
