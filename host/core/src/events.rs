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

/// Asked by whoever removes windows.
pub trait Outboxes: Send + Sync {
    /// Which events of `window` other windows have not got yet, as a sentence; none if they have
    /// all of them.
    fn undelivered<'a>(&'a self, window: &'a str) -> BoxFuture<'a, Option<String>>;

    /// The store of `window` is deleted, and with it all its events.
    fn store_deleted(&self, window: &str);
}

impl std::fmt::Debug for dyn Outboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outboxes")
    }
}
