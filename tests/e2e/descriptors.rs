//! A host that has no file descriptor left for one more connection serves those it has, and takes
//! new ones again as soon as there are some.

use bytes::Bytes;
use hms_harness::http::connect;
use hms_harness::process::held;
use hms_harness::{Host, eventually, guest};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Connections that the host can still accept, and those that come.
const LEFT: usize = 12;
const COMING: usize = 60;

type Connection = SendRequest<Empty<Bytes>>;

async fn keep(host: &Host) -> Connection {
    let stream = TokioIo::new(connect(host.gateway()).await);
    let (kept, connection) = handshake(stream).await.unwrap();
    tokio::spawn(connection);
    kept
}

/// The whole answer is read, so that the next request finds the connection clean.
async fn ask(kept: &mut Connection) -> StatusCode {
    kept.ready().await.unwrap();
    let request = Request::get("/victim").header("host", "kept");
    let request = request.body(Empty::new()).unwrap();
    let answer = kept.send_request(request).await.unwrap();
    let status = answer.status();
    answer.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn host_out_of_file_descriptors_serves_on_and_recovers() {
    let hello = guest("hello-wasip3").await;
    let host = Host::with_open_windows(&[("victim", &hello)]).await;
    let mut kept = keep(&host).await;
    assert_eq!(ask(&mut kept).await, StatusCode::OK);
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
    assert_eq!(ask(&mut kept).await, StatusCode::OK);
    drop(idle);
    assert_eq!(host.get("/victim").await.status, 200);
}
