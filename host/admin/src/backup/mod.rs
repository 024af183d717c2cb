//! `GET /backup`: a backup of the running host, as one tar stream.
//!
//! [`take`] defines the order and its reasons; [`output`] writes the stream and its manifest. A
//! backup runs on its own thread, one at a time, and ends when its reader disconnects.

mod output;
mod take;

use super::query::Query;
use super::reply;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use hms_core::body::Body;
use hms_events::Events;
use hms_gateway::Gateway;
use hms_grants::GrantsFolder;
use hms_windows::Registry;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use output::{Output, Sending};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use take::Take;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Concurrent backups. 1: each reads everything, and needs the space of the largest store.
const AT_ONCE: usize = 1;

/// Pieces of the stream queued for its reader, each of [`output::PIECE_BYTES`].
const QUEUE: usize = 8;

/// The longest that a backup may take. A day: a reader that barely continues must not block the
/// next one forever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Backups of one host.
#[derive(Debug)]
pub struct Backups {
    data: PathBuf,
    room: Arc<Semaphore>,
    /// Cancelled when the host ends, which no backup holds up.
    shutdown: CancellationToken,
    /// Whose state is in a backup; none where nothing is delivered.
    events: Option<Arc<Events>>,
    pub(super) counters: Counters,
}

/// What is counted.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    pub outcomes: Family<OutcomeLabel, Counter>,
    /// When the last complete one ended, in seconds since 1970.
    pub last_complete: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    outcome: &'static str,
}

impl Counters {
    /// From the start on, so that an alert sees the first failure as a rise.
    fn new() -> Self {
        let counters = Counters {
            outcomes: Family::default(),
            last_complete: Gauge::default(),
        };
        for outcome in ["complete", "failed", "refused"] {
            drop(counters.outcomes.get_or_create(&OutcomeLabel { outcome }));
        }
        counters
    }

    fn count(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

impl Backups {
    /// Of the data folder `data`.
    pub fn new(data: PathBuf, shutdown: CancellationToken) -> Self {
        Backups {
            data,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            shutdown,
            events: None,
            counters: Counters::new(),
        }
    }

    /// Has the state of deliveries be in them.
    pub fn with_events(mut self, events: Arc<Events>) -> Self {
        self.events = Some(events);
        self
    }

    /// Begins one. `GET /backup?secrets=keep|omit`.
    pub(super) fn begin(
        &self,
        windows: &Arc<Registry>,
        gateway: &Arc<Gateway>,
        grants: &Arc<GrantsFolder>,
        query: &str,
    ) -> Response<Body> {
        let secrets = match secrets(query) {
            Ok(secrets) => secrets,
            Err(why) => return reply::refuse(StatusCode::BAD_REQUEST, "bad-request", why),
        };
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            self.counters.count("refused");
            let detail = "another backup of this host is running: try again when it is done";
            return reply::refuse(StatusCode::CONFLICT, "backup-running", detail);
        };
        let (pieces, stream) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
        let counters = self.counters.clone();
        let take = Take {
            data: self.data.clone(),
            windows: windows.clone(),
            gateway: gateway.clone(),
            grants: grants.clone(),
            events: self.events.clone(),
            runtime: Handle::current(),
            secrets,
        };
        let shutdown = self.shutdown.clone();
        let whole = Arc::new(AtomicBool::new(false));
        let ended = whole.clone();
        tokio::task::spawn_blocking(move || {
            let _room = room;
            let begun = Instant::now();
            // The stream does not end before it is known how.
            let _open = pieces.clone();
            let output = Output::new(Sending::new(pieces, shutdown, begun + LONGEST));
            tracing::info!("backup started");
            match take.run(output) {
                Ok(done) => {
                    ended.store(true, Ordering::Release);
                    let seconds = begun.elapsed().as_secs();
                    let (files, bytes) = (done.files, done.bytes);
                    match done.missing {
                        0 => {
                            counters.count("complete");
                            counters.last_complete.set(done.ended);
                            tracing::info!(files, bytes, seconds, "backup complete");
                        }
                        missing => {
                            counters.count("failed");
                            tracing::error!(files, bytes, missing, "backup done, but incomplete");
                        }
                    }
                }
                Err(error) => {
                    counters.count("failed");
                    tracing::warn!("backup failed: {error:#}");
                }
            }
        });
        let frames = until_whole(stream, whole)
            .map_ok(Frame::data)
            .map_err(Into::into);
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/x-tar");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The pieces, and an error if they end before `whole` is set, however full the queue was. A reader
/// thus never takes half a stream for a complete one.
fn until_whole(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    whole: Arc<AtomicBool>,
) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::unfold(Some(pieces), move |pieces| {
        let whole = whole.clone();
        async move {
            let mut pieces = pieces?;
            match pieces.recv().await {
                Some(piece) => Some((piece, Some(pieces))),
                None if whole.load(Ordering::Acquire) => None,
                None => Some((Err(io::Error::other("the backup failed")), None)),
            }
        }
    })
}

fn secrets(query: &str) -> Result<bool, String> {
    let query = Query::read(query, &["secrets"]).map_err(|error| error.to_string())?;
    match query.text("secrets") {
        None | Some("keep") => Ok(true),
        Some("omit") => Ok(false),
        Some(_) => Err("secrets must be keep (the default) or omit".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_backup::{MAX_MEMBERS, restore::MAX_MANIFESTS_BYTES, source::MAX_MANIFEST_BYTES};
    use hms_store::LEAST_FREE_BYTES;

    #[test]
    fn limits_page_lists_the_backup_limits() {
        let page = include_str!("../../../../docs/limits.md");
        let thousands = format!("{},{:03}", MAX_MEMBERS / 1000, MAX_MEMBERS % 1000);
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let rows = [
            format!(
                "| backups at once; time for one | {AT_ONCE}; {} h |",
                LONGEST.as_secs() / 3600
            ),
            format!("that a backup leaves free | {} |", mib(LEAST_FREE_BYTES)),
            format!(
                "bytes of all its routes, and of all its grants | {thousands}; {}; {} |",
                mib(MAX_MANIFEST_BYTES),
                mib(MAX_MANIFESTS_BYTES)
            ),
        ];
        for row in rows {
            assert!(page.contains(&row), "docs/limits.md lacks: {row}");
        }
    }

    #[tokio::test]
    async fn abandoned_stream_ends_with_an_error_for_a_slow_reader() {
        use futures_util::StreamExt;
        for done in [true, false] {
            let (pieces, stream) = mpsc::channel(1);
            let whole = Arc::new(AtomicBool::new(false));
            pieces.try_send(Ok(Bytes::from_static(b"x"))).unwrap();
            whole.store(done, Ordering::Release);
            drop(pieces);
            let all: Vec<_> = until_whole(stream, whole).collect().await;
            assert_eq!(all.iter().filter(|piece| piece.is_ok()).count(), 1);
            assert_eq!(all.last().unwrap().is_ok(), done);
        }
    }

    #[test]
    fn secrets_parameter_accepts_only_known_values() {
        assert_eq!(secrets(""), Ok(true));
        assert_eq!(secrets("secrets=omit"), Ok(false));
        for wrong in ["secrets=no", "secret=omit", "secrets=omit&secrets=omit"] {
            assert!(secrets(wrong).is_err(), "{wrong}");
        }
    }
}
