//! Lines of windows in the log of an author's host: `TIME NAME | TEXT`.

use hms_core::printable::printable;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The target of the events that are lines of windows.
pub(crate) const TARGET: &str = "window";

/// Writes lines of windows behind their names if they are to be `prefixed`, and everything else as
/// `others` does.
pub(crate) struct Inline<F> {
    pub prefixed: bool,
    pub others: F,
}

impl<S, N, F> FormatEvent<S, N> for Inline<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !self.prefixed || event.metadata().target() != TARGET {
            return self.others.format_event(context, writer, event);
        }
        let mut line = Line::default();
        event.record(&mut line);
        SystemTime.format_time(&mut writer)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR ",
            Level::WARN => "WARN ",
            _ => "",
        };
        writeln!(
            writer,
            " {} | {level}{}",
            printable(&line.window),
            printable(&line.text)
        )
    }
}

#[derive(Default)]
struct Line {
    window: String,
    text: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let of = match field.name() {
            "window" => &mut self.window,
            "message" => &mut self.text,
            _ => return,
        };
        // A text cannot refuse.
        let _ = write!(of, "{value:?}");
    }
}
