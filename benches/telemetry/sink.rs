//! A collector that takes everything and keeps nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Sink {
    addr: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Sink {
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, bytes) = (listener.local_addr().unwrap(), Arc::<AtomicU64>::default());
        let counted = bytes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, counted.clone()));
            }
        });
        Sink { addr, bytes }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Requests one after the other, each with its length in its head.
async fn take(mut stream: TcpStream, counted: Arc<AtomicU64>) {
    // Large: a batch is several hundred KiB, and what the sink takes of the processors is missing
    // to the host.
    let mut bytes = Vec::with_capacity(256 << 10);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut left = (end + 4 + length).saturating_sub(bytes.len());
        while left > 0 {
            bytes.clear();
            let read = stream.read_buf(&mut bytes).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            left = left.saturating_sub(read);
        }
        bytes.clear();
        counted.fetch_add(length as u64, Relaxed);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
