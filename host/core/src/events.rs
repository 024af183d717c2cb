//! What the events of windows ask of the rest of the host.

use futures_util::future::BoxFuture;

/// Told before a window's store gets an event, so that a host that ends without notice knows
/// afterwards in which stores there may be events that nobody has seen.
pub trait EmitGuard: Send + Sync {
    /// Must have ended well before `window` commits its next event. None where nothing has to be
    /// done, which is so for all but the first event in a run of the host: then it costs a lookup.
    ///
    /// # Errors
    /// Why no event may be committed now, as a sentence for operators.
    fn before_emit<'a>(&'a self, window: &'a str) -> Option<BoxFuture<'a, Result<(), String>>>;
}

impl std::fmt::Debug for dyn EmitGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmitGuard")
    }
}
