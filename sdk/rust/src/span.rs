//! Parts of a window's own work, in the traces of its requests.

/// Begins a part of the window's work, which ends when the [`Span`] is dropped.
///
/// `hms requests` shows it with its time below `guest`, and it is exported with the trace. What the
/// window asks its host for meanwhile, such as a write or a call, is below it, and so are spans
/// that begin before it ends.
///
/// ```no_run
/// # use hms_window::{FetchError, Request, fetch, span};
/// # async fn rates(request: Request) -> Result<(), FetchError> {
/// let mut part = span("exchange rates");
/// let answer = fetch(request).await;
/// if answer.is_err() {
///     part.fail();
/// }
/// # Ok(())
/// # }
/// ```
///
/// The name says what is done and not for whom: it is exported. At most 256 bytes of it are kept. A
/// request has at most 64 spans, those of the host included; further ones are counted. An instance
/// that has several requests at work keeps none, because nobody can tell whose they are. Outside of
/// a window, as in a unit test, a span does nothing.
pub fn span(name: &str) -> Span {
    Span {
        number: begin(name),
        failed: false,
    }
}

/// A part of the window's work, from [`span`] until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped: bind it to a name"]
pub struct Span {
    number: u32,
    failed: bool,
}

impl Span {
    /// It failed.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.number > 0 {
            end(self.number, self.failed);
        }
    }
}

#[cfg(target_family = "wasm")]
use crate::bindings::spans::hms::telemetry::spans::{begin, end};

#[cfg(not(target_family = "wasm"))]
fn begin(_name: &str) -> u32 {
    0
}

#[cfg(not(target_family = "wasm"))]
fn end(_part: u32, _failed: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_outside_of_a_window_does_nothing() {
        let mut part = span("part");
        part.fail();
        assert_eq!(part.number, 0);
    }
}
