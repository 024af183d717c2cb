//! Opening the listening sockets, for the gateway and for the admin API alike.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// How often another free port is tried when the one that the kernel chose is taken on `::1`.
const PORT_ZERO_ATTEMPTS: usize = 16;

/// Binds `addr`. For `127.0.0.1` it also binds `[::1]` at the same port where the machine has IPv6, because
/// `localhost` may resolve to either. Port 0 takes a free one.
///
/// `flag` is the command line option that chooses the address; the error for a taken port names it.
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
            format!("{ip} is no address of this machine: choose another with {flag}")
        }
        _ => format!("{addr} cannot be listened on: {error}"),
    };
    io::Error::new(error.kind(), sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_default_address_answers_on_both_loopbacks() {
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
    async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
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
