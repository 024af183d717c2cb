//! HTTP/2 frame by frame, for clients that no library would be.

use super::*;

/// A frame of HTTP/2 (RFC 9113 section 4.1).
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const ACK: u8 = 1;

pub(super) async fn send(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    stream.write_all(&bytes).await.unwrap();
}

/// The next frame; None at the end of the connection.
pub(super) async fn receive(stream: &mut TcpStream) -> Option<Frame> {
    let read = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(id),
            payload,
        })
    };
    let read = tokio::time::timeout(PATIENCE, read).await;
    read.expect("a frame in time")
}

pub(super) async fn receive_until(
    stream: &mut TcpStream,
    wanted: impl Fn(&Frame) -> bool,
) -> Frame {
    loop {
        let frame = receive(stream).await.expect("the connection is open");
        if wanted(&frame) {
            return frame;
        }
    }
}

/// GET, by fields of HPACK's static table (RFC 7541).
pub(super) async fn ask(stream: &mut TcpStream, id: u32, path: &str) {
    let mut fields = vec![0x82, 0x86, 0x01, 1, b'x', 0x04, path.len() as u8];
    fields.extend(path.bytes());
    // END_STREAM and END_HEADERS.
    send(stream, HEADERS, 0x5, id, &fields).await;
}

/// The preface and SETTINGS, which may give streams this window.
pub(super) async fn start(stream: &mut TcpStream, window: Option<u32>) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(preface).await.unwrap();
    let settings = window.map_or(vec![], |window| {
        [&[0, 4][..], &window.to_be_bytes()].concat()
    });
    send(stream, SETTINGS, 0, 0, &settings).await;
}
