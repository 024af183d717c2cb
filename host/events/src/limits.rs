//! Every bound of the delivery of events, with its reason.

use std::time::Duration;

/// Unfinished events of one source that a subscription knows of; then it reads on only as they are
/// finished. 1,000: what one poison event can hold up of its source is little, and what is kept of
/// each is about a hundred bytes.
pub(crate) const MAX_UNFINISHED: usize = 1_000;

/// An event that is to be tried again later than this was put off by a clock that was wrong, and is
/// tried now. 25 h: more than the longest pause that a file can say.
pub(crate) const MAX_AHEAD_MS: u64 = 25 * 3_600_000;

/// Parked events of one subscription; then it pauses. 1,000 payloads are 64 MiB at most, and nobody
/// looks through more.
pub(crate) const MAX_PARKED: usize = 1_000;

/// Rejections in a row that pause a subscription. 20: more than a few bad events in a row, and few
/// enough to be looked at.
pub(crate) const MAX_REJECTIONS: usize = 20;

/// Replays of one source whose events are not all finished. 16: each is a number kept.
pub(crate) const MAX_REPLAYS: usize = 16;

/// Events read at once to find those that match. 256.
pub(crate) const PAGE_EVENTS: usize = 256;

/// Bytes of them. 1 MiB.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// Bytes of an answer that are read, so that its connection or instance ends as usual. 64 KiB: what
/// is said to a delivery is a sentence.
pub(crate) const ANSWER_BYTES: usize = 64 << 10;

/// Pause of a subscription after a delivery that was not tried. It doubles up to
/// [`LONGEST_PAUSE`]. 50 ms: a busy window is free soon.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// 2 s: a window that was started again, or deployed, has its events soon.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long an operator waits until it is read where a subscription stands. 5 s: more than a start
/// takes, where no store fails.
pub(crate) const LONGEST_LOAD: Duration = Duration::from_secs(5);

/// How long acknowledgements are gathered before they are committed. 10 ms: with the commit itself
/// they are about 20 ms late.
pub(crate) const GATHER: Duration = Duration::from_millis(10);

/// Pause after a commit that failed. 1 s.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What is due or was missed is looked for this often. 1 s.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// Old events are dropped this often. 1 min.
pub(crate) const TRIM: Duration = Duration::from_secs(60);

/// Stores opened at once to find what is due. 4: they take turns at the disk with citizens.
pub(crate) const OPEN_AT_ONCE: usize = 4;

/// Events appended at once whose time has come. 256.
pub(crate) const PROMOTE: usize = 256;

/// The bounds that a host can set.
#[derive(Debug, Clone)]
pub struct EventsLimits {
    /// Deliveries in flight in the host. 64: a sixth of the pool of instances, so that citizens
    /// never wait for the rest.
    pub in_flight: usize,
    /// How long events are kept that nobody needs any more, and the state of a subscription that is
    /// no longer in its file. 7 days.
    pub keep: Duration,
    /// How long deliveries in flight may take to end when the host shuts down. 10 s.
    pub stop_time: Duration,
}

impl Default for EventsLimits {
    fn default() -> Self {
        EventsLimits {
            in_flight: 64,
            keep: Duration::from_secs(7 * 24 * 3600),
            stop_time: Duration::from_secs(10),
        }
    }
}
