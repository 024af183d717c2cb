//! Which work the lines of the log are about that a thread writes now. Whoever exports the log
//! asks; what is written on stderr stays as it is.

use super::context::TraceContext;
use std::cell::Cell;

thread_local! {
    static WORK: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// Runs `say`. The lines that it logs on this thread are about the work at `context`.
pub fn about<T>(context: Option<TraceContext>, say: impl FnOnce() -> T) -> T {
    let _before = Before(WORK.replace(context));
    say()
}

/// The work that lines of this thread are about now.
pub fn work() -> Option<TraceContext> {
    WORK.get()
}

/// What was before, also after a panic.
struct Before(Option<TraceContext>);

impl Drop for Before {
    fn drop(&mut self) {
        WORK.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_about_the_innermost_work() {
        let (one, other) = (TraceContext::new(true), TraceContext::new(false));
        assert_eq!(work(), None);
        about(Some(one), || {
            about(Some(other), || assert_eq!(work(), Some(other)));
            about(None, || assert_eq!(work(), None));
            assert_eq!(work(), Some(one));
        });
        assert_eq!(work(), None);
    }
}
