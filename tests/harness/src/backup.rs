//! A backup under way.

use super::Host;
use super::http::connect;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::fs;
use tokio::task::JoinHandle;

/// A backup whose reader takes what it wants, when it wants it.
pub struct Reader {
    body: Incoming,
    read: Vec<u8>,
    connection: JoinHandle<()>,
}

impl Reader {
    /// Asks for a backup, of which only the head is read.
    pub async fn begin(host: &Host) -> Reader {
        let token = fs::read_to_string(host.data().join("admin.token")).unwrap();
        let io = TokioIo::new(connect(host.admin_url()).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request = Request::get("/backup")
            .header("host", "admin")
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        Reader {
            body: answer.into_body(),
            read: Vec::new(),
            connection,
        }
    }

    /// Reads until `what` has come.
    pub async fn read_to(&mut self, what: &str) {
        while !self
            .read
            .windows(what.len())
            .any(|part| part == what.as_bytes())
        {
            let frame = self.body.frame().await.expect("more of it").unwrap();
            self.read.extend(frame.into_data().unwrap_or_default());
        }
    }

    /// All of it.
    pub async fn rest(mut self) -> Vec<u8> {
        while let Some(frame) = self.body.frame().await {
            self.read
                .extend(frame.unwrap().into_data().unwrap_or_default());
        }
        self.read
    }

    /// Closes the connection.
    pub fn leave(self) {
        self.connection.abort();
    }
}
