//! Tabs of the dashboard: what a browser keeps open for each.

use crate::hosts::Host;
use hms_harness::http::send;
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

pub struct Tabs {
    tabs: Vec<JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
}

impl Tabs {
    /// Signs in, and opens so many.
    pub async fn open(host: &Host, count: usize) -> Tabs {
        let url = format!("{}/ui/login", host.admin());
        let form = format!("token={}", host.token());
        let answer = send(Method::POST, &url, &[SAME], form.into_bytes()).await;
        let cookie = answer.header("set-cookie").to_owned();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("hms_admin_"), "{answer:?}");
        let bytes = Arc::<AtomicU64>::default();
        let mut tabs = Vec::new();
        for _ in 0..count {
            let at = host.admin().trim_start_matches("http://").to_owned();
            let mut stream = TcpStream::connect(&at).await.unwrap();
            let head = format!(
                "GET /ui/live/ HTTP/1.1\r\nhost: {at}\r\ncookie: {cookie}\r\n{}: {}\r\n\r\n",
                SAME.0, SAME.1
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let bytes = bytes.clone();
            tabs.push(tokio::spawn(async move {
                let mut piece = vec![0; 64 << 10];
                while let Ok(read @ 1..) = stream.read(&mut piece).await {
                    bytes.fetch_add(read as u64, Relaxed);
                }
            }));
        }
        Tabs { tabs, bytes }
    }

    /// How many bytes came.
    pub fn close(self) -> u64 {
        self.tabs.iter().for_each(JoinHandle::abort);
        self.bytes.load(Relaxed)
    }
}
