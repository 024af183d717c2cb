//! Opens the listening sockets, for the gateway and for the admin API alike.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};

/// How often another free port is tried when the one that the kernel chose is taken on `::1`.
const PORT_ZERO_ATTEMPTS: usize = 16;

/// Binds `addr`. For `127.0.0.1` it also binds `[::1]` at the same port where the machine has IPv6,
/// because `localhost` may resolve to either. Port 0 takes a free one.
///
/// `flag` is the command line option that chooses the address; the error for a taken port names it.
///
/// # Errors
/// A sentence that says what to do, with the kind of the system's error.
pub async fn bind(addr: SocketAddr, flag: &str) -> io::Result<Vec<TcpListener>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let first = TcpListener::bind(addr)
            .await
            .map_err(|error| explain(error, addr, flag))?;
        if addr.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return Ok(vec![first]);
        }
        let twin = SocketAddr::from((Ipv6Addr::LOCALHOST, first.local_addr()?.port()));
        match TcpListener::bind(twin).await {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if addr.port() != 0 || attempt == PORT_ZERO_ATTEMPTS {
                    // Half of the clients that say `localhost` would meet a stranger there.
                    return Err(explain(error, twin, flag));
                }
            }
            // No IPv6 on this machine.
            Err(_) => return Ok(vec![first]),
        }
    }
}

/// Reads an address to listen on: an IP address or the name of one, and a port. A name is looked
/// up, but for `localhost`, which is what [`bind`] makes of 127.0.0.1. Blocks on the system's
/// resolver.
///
/// # Errors
/// What is wrong, and an example.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    const EXAMPLE: &str =
        "use an address and a port, such as 127.0.0.1:9000 for this machine alone";
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if text.contains("://") {
        return Err(format!("it is a URL; {EXAMPLE}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some(parts) if text.parse::<IpAddr>().is_err() => parts,
        _ => return Err(format!("it has no port; {EXAMPLE}")),
    };
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("'{port}' is not a port; {EXAMPLE}"))?;
    match host {
        "" | "*" => Err(format!(
            "it names no address; {EXAMPLE}, or 0.0.0.0:{port} for all its addresses"
        )),
        host if host.eq_ignore_ascii_case("localhost") => {
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        host if host.contains(':') => Err(format!(
            "write an IPv6 address in brackets, as in [::1]:{port}"
        )),
        host => {
            let found = (host, port).to_socket_addrs();
            let found =
                found.map_err(|error| format!("'{host}' has no address ({error}); {EXAMPLE}"))?;
            let first = found.into_iter().next();
            first.ok_or_else(|| format!("'{host}' has no address; {EXAMPLE}"))
        }
    }
}

/// Listeners that take turns, so that none of them is starved by a flood at another.
pub struct Listeners {
    listeners: Vec<TcpListener>,
    turn: AtomicUsize,
}

impl Listeners {
    /// Accepts from all `listeners` in turn.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        let turn = AtomicUsize::new(0);
        Listeners { listeners, turn }
    }

    /// The next connection, and its other end. For one caller at a time.
    ///
    /// # Errors
    /// What the system lacks. A peer that gave up before it was accepted is no error.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let first = self.turn.fetch_add(1, Relaxed) % self.listeners.len().max(1);
            let (before, from) = self.listeners.split_at(first);
            let accepted = std::future::poll_fn(|cx| {
                let mut polls = from.iter().chain(before).map(|each| each.poll_accept(cx));
                polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
            });
            match accepted.await {
                Err(error) if is_the_peers(&error) => {}
                accepted => return accepted,
            }
        }
    }
}

/// The peer gave up before it was accepted. The next accept may go well at once.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted
    )
}

fn explain(error: io::Error, addr: SocketAddr, flag: &str) -> io::Error {
    let (ip, port) = (addr.ip(), addr.port());
    let sentence = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} on {ip} is taken by another process: stop it or choose another with {flag}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} on {ip} needs more rights than this process has: choose one above 1023 with {flag}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{ip} is not an address of this machine: choose another with {flag}")
        }
        _ => format!("cannot listen on {addr}: {error}"),
    };
    io::Error::new(error.kind(), sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_is_read_with_a_host_name_and_a_bad_one_is_explained() {
        let read = |text: &str| parse_address(text).map(|addr| addr.to_string());
        for (text, addr) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("LocalHost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(addr), "{text}");
        }
        for (text, expected) in [
            ("", "no port"),
            ("9000", "no port"),
            ("localhost", "no port"),
            ("127.0.0.1", "no port"),
            ("::1", "no port"),
            (":9000", "no address"),
            ("*:9000", "0.0.0.0:9000"),
            ("::1:9000", "no port"),
            ("fe80::1%lo:9000", "in brackets"),
            ("localhost:http", "'http' is not a port"),
            ("localhost:70000", "'70000' is not a port"),
            ("http://localhost:9000", "a URL"),
            ("no.such.host.invalid:9000", "has no address"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[tokio::test]
    async fn default_address_answers_on_both_loopbacks() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), "--gateway")
            .await
            .unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if TcpListener::bind("[::1]:0").await.is_ok() {
            assert_eq!(listeners.len(), 2);
            TcpStream::connect(("::1", port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn flood_at_one_listener_starves_no_other() {
        let bound = || TcpListener::bind("127.0.0.1:0");
        let (flooded, other) = (bound().await.unwrap(), bound().await.unwrap());
        let (flood, knock) = (flooded.local_addr().unwrap(), other.local_addr().unwrap());
        let listeners = Listeners::new(vec![flooded, other]);
        let mut clients = Vec::new();
        for addr in [flood, flood, flood, knock] {
            clients.push(TcpStream::connect(addr).await.unwrap());
        }
        let mut served = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listeners.accept().await.unwrap();
            served.push(stream.local_addr().unwrap());
        }
        assert!(served.contains(&knock), "{served:?}");
    }

    #[tokio::test]
    async fn taken_port_is_reported_with_the_flag_that_changes_it() {
        let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = held.local_addr().unwrap();
        let error = bind(addr, "--gateway").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            format!(
                "port {} on 127.0.0.1 is taken by another process: stop it or choose another with --gateway",
                addr.port()
            )
        );
    }
}
