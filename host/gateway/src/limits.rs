//! Every limit of the gateway, with its reason.

use crate::request::body::Pace;
use hms_core::stream_idle::StreamIdle;
use hms_net::pace::WritePace;
use hms_net::strict::HeadLimits;
use std::time::Duration;

/// One address has at most so large a part of the connections, and of the requests at services: a
/// quarter.
const ADDRESS_SHARE: usize = 4;

/// The gateway's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once, all listeners together. At the limit the one that has been idle
    /// longest gives way. Where all have requests at work no more are accepted: the kernel's queue
    /// holds them, which costs this process nothing.
    pub max_connections: usize,
    /// Of those, what one client's address (IPv6: its /64) may have; trusted proxies are not
    /// bounded by it. A quarter: an office behind one address is far below, and four addresses at
    /// least are needed to have requests at work in all places.
    pub max_connections_per_address: usize,
    /// Time for the TLS handshake, from the accept on.
    pub handshake_timeout: Duration,
    /// Time from the accept until it is clear which HTTP version the client speaks. hyper-util has
    /// no timeout there.
    pub first_byte_timeout: Duration,
    /// Time for a whole request head, and so also how long an idle HTTP/1 connection is kept.
    pub header_timeout: Duration,
    /// The longest that a connection is kept without a request; for HTTP/1 `header_timeout` ends it
    /// sooner.
    pub connection_idle_timeout: Duration,
    /// The longest that a WebSocket may be silent both ways; pings count.
    pub websocket_idle_timeout: Duration,
    /// Header fields in one request.
    pub max_headers: usize,
    /// Bytes of one request head.
    pub max_header_bytes: u32,
    /// Bytes of a request target; a longer one is 414. 8 KiB is what RFC 9112 section 3 asks for at
    /// least.
    pub max_target_bytes: usize,
    /// Requests at once on one HTTP/2 connection. 100 is the least that RFC 9113 recommends.
    pub max_streams: u32,
    /// Bytes of one request body. A window sets its own, lower limit; this one is for the host's
    /// sake.
    pub max_body_bytes: u64,
    /// How slow a client may be with its body, so that an upload that stalls or drips frees its
    /// instance. The average is that of Kestrel (`MinRequestBodyDataRate`); a client on a bad line has
    /// six times its grace. It would hold an instance for hours, so from the tenth minute of waiting on
    /// 32 KiB a second are asked for: 20 MB come by then at half of that, over EDGE.
    pub body_pace: Pace,
    /// Bytes of a request body up to which it is read before the upstream is asked. 64 KiB: most
    /// forms and JSON documents, so that their clients, however slow, hold no instance and no
    /// service's worker.
    pub early_body_bytes: usize,
    /// Bytes of such bodies that are held at once; a request beyond them is passed on at once. 64
    /// MiB: a thousand slow clients.
    pub max_early_bytes: u64,
    /// The longest wait for such a body of known length. 2 s: 64 KiB at 256 kbit/s. Whoever takes
    /// longer has an instance that waits with it.
    pub early_known: Duration,
    /// The longest wait for a body of unknown length, which may be a stream whose sender waits for
    /// an answer first. 100 ms: what a client sends at once has come by then, and a person does not
    /// notice.
    pub early_unknown: Duration,
    /// The longest time in which nothing of an answer or of its request's body moves, once the
    /// answer has begun. As Envoy's `stream_idle_timeout`.
    pub stream_idle: Duration,
    /// The longest that a client may take nothing of what it is sent, or be behind
    /// [`Limits::write_bytes_per_s`]; then its connection ends.
    pub write_idle_timeout: Duration,
    /// The least pace at which a client takes what it is sent, in bytes a second. That of request
    /// bodies.
    pub write_bytes_per_s: u32,
    /// After the shutdown began: how long requests in flight may still run before they are cut.
    pub drain_timeout: Duration,
    /// After the shutdown began: how long a connection without a request is kept, so that the
    /// request which is on its way is answered, as the connection's last. 1 s: a way around the
    /// world takes 0.3; half of `drain_timeout` at most.
    pub farewell: Duration,
    /// Manifests in the routes folder that are read. 10,000: far beyond what people write, and a
    /// look at so many files, twice a second, still takes some hundredths of a second. Further
    /// files are refused, each for itself.
    pub max_routes: usize,
    /// Requests at ordinary upstreams at once, WebSockets among them. Each has a connection.
    pub max_at_services: usize,
    /// Of those, what one client's address (IPv6: its /64) may have; trusted proxies are not
    /// bounded by it. A quarter, or as many as it may have connections where that is more.
    pub max_at_services_per_address: usize,
    /// Time to connect to an ordinary upstream.
    pub connect_timeout: Duration,
    /// Time until an ordinary upstream has sent its response head. Windows have their own wall
    /// time.
    pub upstream_timeout: Duration,
    /// Callers counted at once by `rate-limit`. One costs up to 3 KiB.
    pub max_rate_keys: usize,
    /// Bytes of idempotency keys and their answers on disk, from which on no new key is taken. 1
    /// GiB: a million payments a day with a kilobyte each.
    pub max_idempotency_bytes: u64,
    /// Bytes of the bodies of requests with idempotency keys that are held in memory at once, and
    /// as many of answers to them. 256 MiB: a payment has some hundred bytes.
    pub max_idempotency_held_bytes: u64,
    /// Time for the whole body of a request with an idempotency key, which is read into memory
    /// before anything is done. 2 min: 4 MiB at 280 kbit/s.
    pub idempotency_body_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 4096,
            max_connections_per_address: 4096 / ADDRESS_SHARE,
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            connection_idle_timeout: Duration::from_secs(60),
            websocket_idle_timeout: Duration::from_secs(300),
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            max_target_bytes: 8 * 1024,
            max_streams: 100,
            max_body_bytes: 100 * 1024 * 1024,
            body_pace: Pace {
                pause: Duration::from_secs(60),
                grace: Duration::from_secs(30),
                bytes_per_s: 240,
                long_grace: Duration::from_secs(600),
                long_bytes_per_s: 32 * 1024,
            },
            early_body_bytes: 64 * 1024,
            max_early_bytes: 64 << 20,
            early_known: Duration::from_secs(2),
            early_unknown: Duration::from_millis(100),
            stream_idle: StreamIdle::default().0,
            write_idle_timeout: Duration::from_secs(30),
            write_bytes_per_s: 240,
            drain_timeout: Duration::from_secs(30),
            farewell: Duration::from_secs(1),
            max_routes: 10_000,
            max_at_services: 4096,
            max_at_services_per_address: 4096 / ADDRESS_SHARE,
            connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(30),
            max_rate_keys: 50_000,
            max_idempotency_bytes: 1 << 30,
            max_idempotency_held_bytes: 256 << 20,
            idempotency_body_time: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// Takes at most `most` connections, and of one address `per_address`, or else its usual share
    /// of them.
    pub fn bound_connections(&mut self, most: usize, per_address: Option<usize>) {
        let share = || most / ADDRESS_SHARE;
        self.max_connections = most;
        self.max_connections_per_address = per_address.unwrap_or_else(share).clamp(1, most.max(1));
    }

    /// Has at most `most` requests at services, and of one address its usual share of them. Where
    /// `per_address` gives an address more connections, it may have a request on each.
    pub fn bound_services(&mut self, most: usize, per_address: Option<usize>) {
        let share = (most / ADDRESS_SHARE).max(per_address.unwrap_or_default());
        self.max_at_services = most;
        self.max_at_services_per_address = share.clamp(1, most.max(1));
    }

    /// What a request head over HTTP/1 may have.
    pub fn head(&self) -> HeadLimits {
        HeadLimits {
            max_bytes: self.max_header_bytes as usize,
            max_fields: self.max_headers,
            max_time: self.header_timeout,
        }
    }

    /// How slow a client may be with what it is sent.
    pub fn write_pace(&self) -> WritePace {
        WritePace {
            longest: self.write_idle_timeout,
            bytes_per_s: self.write_bytes_per_s,
        }
    }

    /// The same for one stream of an HTTP/2 connection. Twice the time: on a line of 30 kB/s each
    /// of 100 streams has its turn by then.
    pub fn stream_pace(&self) -> WritePace {
        WritePace {
            longest: self.write_idle_timeout * 2,
            ..self.write_pace()
        }
    }
}
