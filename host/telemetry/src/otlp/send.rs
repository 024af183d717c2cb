//! One request to the collector, and what to do if it is not taken.

use super::OtlpSettings;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hms_core::body;
use hms_net::client::{ClientSettings, HttpClient, Roots, Screen};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use std::fmt;
use std::io::Write;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The first pause before a request is sent again; it doubles, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long a batch is tried. 60 s: longer than a collector restarts. Then it is dropped, so that
/// later ones have a chance.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read. The answer to what was accepted is a few bytes.
const ANSWER_BYTES: usize = 64 << 10;

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// There was no answer.
    Unreachable(String),
    /// It will not be taken.
    Refused(StatusCode),
    /// It was not taken in time.
    TooLate,
}

impl Failed {
    /// The word for it in metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Failed::Unreachable(_) => "unreachable",
            Failed::Refused(_) => "refused",
            Failed::TooLate => "too-late",
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Unreachable(why) => write!(f, "the collector does not answer: {why}"),
            Failed::Refused(status) => write!(f, "the collector answers {status}"),
            Failed::TooLate => write!(f, "the collector takes too long"),
        }
    }
}

/// Sends to the collector.
pub(super) struct Sender {
    client: HttpClient,
    headers: Vec<(HeaderName, HeaderValue)>,
    gzip: bool,
    timeout: Duration,
}

impl Sender {
    /// The collector's address is the operator's: any may be connected to.
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let client = ClientSettings::new(settings.timeout, Screen::open(), Roots::of_system());
        Sender {
            client: HttpClient::new(client),
            headers: settings.headers.clone(),
            gzip: settings.gzip,
            timeout: settings.timeout,
        }
    }

    /// Sends `body` until it is taken, refused for good or [`PATIENCE`] is over. Once `end` is
    /// cancelled it is sent once more at most.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) async fn send(
        &self,
        to: &Uri,
        body: Vec<u8>,
        end: &CancellationToken,
    ) -> Result<(), Failed> {
        let body = match self.gzip {
            true => gzip(&body).unwrap_or(body),
            false => body,
        };
        let body = Bytes::from(body);
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let last = end.is_cancelled();
            let (failed, wait) = match self.once(to, body.clone()).await {
                Ok(()) => return Ok(()),
                Err((failed, wait)) => (failed, wait),
            };
            let Some(wait) = wait else {
                return Err(failed);
            };
            // By chance shorter, so that not all hosts come back at once.
            let share = 0.5 + uuid::Uuid::new_v4().as_u64_pair().0 as f64 / u64::MAX as f64 / 2.0;
            let wait = wait.max(pause.mul_f64(share));
            if last || Instant::now() + wait > until {
                return Err(failed);
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = end.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends it once. On a failure that may pass, how long to wait at least.
    async fn once(&self, to: &Uri, body: Bytes) -> Result<(), (Failed, Option<Duration>)> {
        let mut request = Request::post(to.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(
                http::header::USER_AGENT,
                concat!("hms/", env!("CARGO_PKG_VERSION")),
            );
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let unsendable = |why: &dyn fmt::Display| (Failed::Unreachable(why.to_string()), None);
        let request = request.body(body::full(body));
        let request = request.map_err(|error| unsendable(&error))?;
        let asked = async {
            let response = self.client.send(request).await?;
            let (head, body) = response.into_parts();
            // Read, so that the connection can be used again.
            let _ = Limited::new(body, ANSWER_BYTES).collect().await;
            Ok::<_, hms_net::client::SendError>(head)
        };
        let soon = Some(Duration::ZERO);
        let head = match timeout(self.timeout, asked).await {
            Err(_) => return Err((Failed::TooLate, soon)),
            Ok(Err(error)) => return Err((Failed::Unreachable(error.to_string()), soon)),
            Ok(Ok(head)) => head,
        };
        match head.status {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                let seconds = head.headers.get(RETRY_AFTER);
                let seconds = seconds.and_then(|it| it.to_str().ok()?.trim().parse::<u64>().ok());
                // Longer than it is tried is as good as never.
                let seconds = seconds.unwrap_or(0).min(PATIENCE.as_secs() + 1);
                let wait = Duration::from_secs(seconds);
                Err((Failed::Refused(status), Some(wait)))
            }
            status => Err((Failed::Refused(status), None)),
        }
    }
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
