//! A host that has no file descriptor left for one more connection serves those it has, and takes new ones again as soon as
//! there are some.

use super::harness::http::connect;
use super::harness::process::held;
use super::harness::{Host, eventually, guest};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that the host can still accept, and those that come.
const LEFT: usize = 12;
const COMING: usize = 60;

async fn ask(stream: &mut TcpStream) -> String {
    let request = b"GET /victim HTTP/1.1\r\nhost: kept\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0; 4096];
    let bytes = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..bytes]).into_owned()
}

#[tokio::test]
async fn out_of_file_descriptors_the_host_serves_on_and_recovers() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("victim", &hello)]).await;
    let mut kept = connect(host.gateway()).await;
    assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"));
    let limit = Some((held(host.pid()).files + LEFT) as u64);
    let limit = Rlimit {
        current: limit,
        maximum: limit,
    };
    let pid = Pid::from_raw(host.pid() as i32);
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let mut idle = Vec::new();
    for _ in 0..COMING {
        idle.push(connect(host.gateway()).await);
    }
    eventually("the host has none left", || async {
        host.log()
            .contains("accepting a connection failed")
            .then_some(())
    })
    .await;
    assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"));
    drop(idle);
    assert_eq!(host.get("/victim").await.status, 200);
}
