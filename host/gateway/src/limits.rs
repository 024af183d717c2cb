//! Every limit of the gateway, with its reason.

use crate::request::body::Pace;
use hms_core::stream_idle::StreamIdle;
use hms_net::pace::WritePace;
use hms_net::strict::HeadLimits;
use std::time::Duration;

/// The share of one address in the connections, and in the requests at services: a quarter.
const ADDRESS_SHARE: usize = 4;

/// The gateway's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections, over all listeners. At the limit, the connection that has been idle
    /// longest is closed. If all are busy, the gateway stops accepting: new ones wait in the
    /// kernel's queue, which costs this process nothing.
    pub max_connections: usize,
    /// Of those, connections of one client address (IPv6: its /64). Trusted proxies are exempt. A
    /// quarter: an office behind one address is far below it, and it takes at least four addresses
    /// to keep all connections busy.
    pub max_connections_per_address: usize,
    /// Time for the TLS handshake, from the accept.
    pub handshake_timeout: Duration,
    /// Time from the accept until the HTTP version is known. hyper-util has no timeout there.
    pub first_byte_timeout: Duration,
    /// Time for a whole request head; also how long an idle HTTP/1 connection is kept.
    pub header_timeout: Duration,
    /// How long a connection is kept without a request. For HTTP/1, `header_timeout` ends it
    /// sooner.
    pub connection_idle_timeout: Duration,
    /// The longest silence of a WebSocket in both directions; pings count as traffic.
    pub websocket_idle_timeout: Duration,
    /// Header fields in one request.
    pub max_headers: usize,
    /// Bytes of one request head.
    pub max_header_bytes: u32,
    /// Bytes of a request target; a longer one is 414. 8 KiB: RFC 9112 section 3 recommends at
    /// least that.
    pub max_target_bytes: usize,
    /// Concurrent requests on one HTTP/2 connection. 100 is the least that RFC 9113 recommends.
    pub max_streams: u32,
    /// Bytes of one request body. Windows set their own, lower limits; this one protects the host.
    pub max_body_bytes: u64,
    /// How slowly a client may send a body. An upload that stalls or drips must free its instance.
    /// The average is that of Kestrel (`MinRequestBodyDataRate`), with six times its grace period
    /// for bad lines. At that rate an upload could hold an instance for hours, so from the tenth
    /// minute of waiting on 32 KiB/s are required. By then 20 MB have arrived at half that rate,
    /// over EDGE.
    pub body_pace: Pace,
    /// The largest request body that is read before the upstream is asked, in bytes. 64 KiB: most
    /// forms and JSON documents. Their clients, however slow, then hold no instance and no worker
    /// of a service.
    pub early_body_bytes: usize,
    /// Bytes of such bodies held in memory; beyond it a request is forwarded without waiting. 64
    /// MiB: a thousand slow clients.
    pub max_early_bytes: u64,
    /// The longest wait for such a body of known length. 2 s: 64 KiB at 256 kbit/s. After that its
    /// instance waits with it.
    pub early_known: Duration,
    /// The longest wait for a body of unknown length. It may be a stream whose sender first waits
    /// for an answer. 100 ms: what a client sends at once has arrived by then, and a person does
    /// not notice.
    pub early_unknown: Duration,
    /// The longest time without any data of an answer or of its request's body, once the answer has
    /// begun. Like Envoy's `stream_idle_timeout`.
    pub stream_idle: Duration,
    /// The longest time that a client may read nothing, or lag behind
    /// [`Limits::write_bytes_per_s`]. Then its connection is closed.
    pub write_idle_timeout: Duration,
    /// The least rate at which a client must read, in bytes per second. The same as for request
    /// bodies.
    pub write_bytes_per_s: u32,
    /// How long requests in flight may still run after the shutdown has begun.
    pub drain_timeout: Duration,
    /// How long a connection without a request is kept after the shutdown has begun, so that a
    /// request already on its way is answered, as the last of its connection. 1 s: a round trip
    /// around the world takes 0.3 s. At most half of `drain_timeout`.
    pub farewell: Duration,
    /// Manifests read from the routes folder. 10,000: far more than people write, and checking so
    /// many files twice a second still takes only some hundredths of a second. Each further file is
    /// refused.
    pub max_routes: usize,
    /// Concurrent requests to ordinary upstreams, WebSockets included. Each has a connection.
    pub max_at_services: usize,
    /// Of those, requests of one client address (IPv6: its /64). Trusted proxies are exempt. A
    /// quarter, or as many as the address may have connections, if that is more.
    pub max_at_services_per_address: usize,
    /// Time to connect to an ordinary upstream.
    pub connect_timeout: Duration,
    /// Time until an ordinary upstream has sent its response head. Windows have their own wall
    /// time.
    pub upstream_timeout: Duration,
    /// Bytes of answers that `cache` stores; 0: none. 64 MiB: the pages, scripts and styles of
    /// dozens of sites, and half of the memory of one instance.
    pub max_cache_bytes: u64,
    /// Callers that `rate-limit` counts at once. Each costs up to 3 KiB.
    pub max_rate_keys: usize,
    /// Bytes of idempotency keys and their answers on disk. Beyond it no new key is accepted. 1
    /// GiB: a million payments a day with a kilobyte each.
    pub max_idempotency_bytes: u64,
    /// Bytes of bodies of requests with idempotency keys held in memory at once, and as many of
    /// answers. 256 MiB: a payment has some hundred bytes.
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
            max_cache_bytes: 64 << 20,
            max_rate_keys: 50_000,
            max_idempotency_bytes: 1 << 30,
            max_idempotency_held_bytes: 256 << 20,
            idempotency_body_time: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// Accepts at most `most` connections, and `per_address` of one address, by default its usual
    /// share.
    pub fn bound_connections(&mut self, most: usize, per_address: Option<usize>) {
        let share = || most / ADDRESS_SHARE;
        self.max_connections = most;
        self.max_connections_per_address = per_address.unwrap_or_else(share).clamp(1, most.max(1));
    }

    /// Allows at most `most` requests at services, and of one address its usual share. If
    /// `per_address` allows an address more connections, it may have a request on each.
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

    /// The same for one stream of an HTTP/2 connection, with twice the time: on a line of 30 kB/s,
    /// each of 100 streams has had its turn by then.
    pub fn stream_pace(&self) -> WritePace {
        WritePace {
            longest: self.write_idle_timeout * 2,
            ..self.write_pace()
        }
    }
}
