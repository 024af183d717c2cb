//! A stream of events, as browsers read it with `EventSource` (HTML, section 9.2, Server-sent
//! events). They have nothing to do with the [`Event`](crate::Event) that a transaction emits.

use crate::body_writer::BodyWriter;
use crate::{Problem, Response, sleep_ms};
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Between two pings, in milliseconds. 15 s, as HTML suggests: proxies commonly cut what is quiet
/// for 30 or 60 s.
const PING_EVERY_MS: u64 = 15_000;

/// One event of a stream.
///
/// ```
/// # use hms_window::sse::Event;
/// let event = Event::new("two\nlines").kind("news").id("7");
/// assert_eq!(event.to_string(), "event: news\nid: 7\ndata: two\ndata: lines\n\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    kind: Option<String>,
    id: Option<String>,
}

impl Event {
    /// An event with this data, which may have several lines.
    pub fn new(data: impl Into<String>) -> Self {
        Event {
            data: data.into(),
            ..Event::default()
        }
    }

    /// Its type, in place of `message`. A line break in it ends it.
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = Some(first_line(kind));
        self
    }

    /// What the browser sends as `Last-Event-ID` when it connects again. A line break or a NUL in
    /// it ends it.
    pub fn id(mut self, id: &str) -> Self {
        let id = id.split('\0').next().unwrap_or_default();
        self.id = Some(first_line(id));
        self
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(kind) = &self.kind {
            writeln!(f, "event: {kind}")?;
        }
        if let Some(id) = &self.id {
            writeln!(f, "id: {id}")?;
        }
        // A line ends with CRLF, LF or CR: each would begin another field.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            writeln!(f, "data: {line}")?;
        }
        f.write_char('\n')
    }
}

fn first_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Where [`Response::events`] writes.
pub struct Events<'a> {
    out: &'a mut BodyWriter,
    ping_every_ms: u64,
}

impl Events<'_> {
    /// Sends an event, and waits until the host has accepted it. Fails when the client has
    /// disconnected; return that error.
    pub async fn send(&mut self, event: &Event) -> Result<(), Problem> {
        self.out.write(event.to_string()).await
    }

    /// Sends a comment, which browsers ignore. It keeps the connection alive through proxies.
    pub async fn ping(&mut self) -> Result<(), Problem> {
        self.out.write(": ping\n\n").await
    }

    /// Sets the interval of pings by [`Events::waiting`], in milliseconds; 15 s by default. It must
    /// be less than the route's `stream-idle`.
    pub fn ping_every_ms(&mut self, ms: u64) {
        self.ping_every_ms = ms.max(1);
    }

    /// The output of `future`, with pings while it is pending. Fails when the client has
    /// disconnected; return that error.
    ///
    /// ```no_run
    /// # use hms_window::{Problem, Response, sleep_ms, sse::Event};
    /// # async fn next_news() -> String { sleep_ms(60_000).await; "news".into() }
    /// let response = Response::events(async |events| {
    ///     loop {
    ///         let news = events.waiting(next_news()).await?;
    ///         events.send(&Event::new(news)).await?;
    ///     }
    /// });
    /// ```
    pub async fn waiting<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Problem> {
        let mut future = pin!(future);
        loop {
            let mut due = pin!(sleep_ms(self.ping_every_ms));
            let done = poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => due.as_mut().poll(cx).map(|()| None),
            });
            match done.await {
                Some(done) => return Ok(done),
                None => self.ping().await?,
            }
        }
    }
}

impl Response {
    /// A stream of events that `produce` writes while the client stays connected. The host ends an
    /// answer that is quiet for longer than the route's `stream-idle`, so wait for the next event
    /// with [`Events::waiting`].
    pub fn events<F>(produce: F) -> Self
    where
        F: AsyncFnOnce(&mut Events<'_>) -> Result<(), Problem> + 'static,
    {
        let response = Response::stream(200, async move |out| {
            let ping_every_ms = PING_EVERY_MS;
            produce(&mut Events { out, ping_every_ms }).await
        });
        response
            .header("content-type", "text/event-stream")
            .header("cache-control", "no-store")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_text_cannot_begin_another_field() {
        let event = Event::new("a\r\nid: 1\rretry: 2\nb")
            .kind("k\ndata: x")
            .id("7\0\n8");
        let text = "event: k\nid: 7\ndata: a\ndata: id: 1\ndata: retry: 2\ndata: b\n\n";
        assert_eq!(event.to_string(), text);
        assert_eq!(Event::new("").to_string(), "data: \n\n");
    }

    #[test]
    fn event_stream_has_its_content_type() {
        let response = Response::events(async |_| Ok(()));
        assert_eq!(response.headers()["content-type"], "text/event-stream");
    }
}
