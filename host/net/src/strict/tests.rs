use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 64 << 10,
    max_fields: 100,
    max_time: Duration::from_secs(30),
};

/// A stream that comes in these pieces.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            if !piece.is_empty() {
                buf.put_slice(&piece);
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What is handed on of `bytes`, which come in pieces of these sizes, and why it stopped.
async fn through(bytes: &[u8], sizes: &[usize]) -> (Vec<u8>, Option<Kind>) {
    let (mut pieces, mut rest) = (VecDeque::new(), bytes);
    for size in sizes.iter().cycle() {
        let (piece, more) = rest.split_at(rest.len().min(*size));
        pieces.push_back(piece.to_vec());
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    let refused = Refused::default();
    let mut strict = Strict::new(Pieces(pieces), LIMITS, refused.clone());
    let mut out = Vec::new();
    // After a refusal nothing comes.
    let read = std::future::poll_fn(|cx| {
        let mut piece = [0; 300];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(&mut strict).poll_read(cx, &mut piece) {
            Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                out.extend_from_slice(piece.filled());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => Poll::Pending,
        }
    });
    let _ = read.await;
    let violation = refused.0.lock().take();
    (out, violation.map(|violation| violation.kind))
}

const GOOD: [&str; 5] = [
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nGET / HTTP/",
    "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\n0\r\n\r\n9\r\nGET /\r\n\r\n\r\n0\r\nx: y\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "POST /a HTTP/1.0\r\ncontent-length: 3\r\n\r\n\r\n\r",
];

proptest! {
    #[test]
    fn valid_requests_pass_unchanged_however_they_are_split(
        which in prop::collection::vec(0..GOOD.len(), 1..6),
        sizes in prop::collection::vec(1usize..60, 1..8),
    ) {
        let all: String = which.into_iter().map(|index| GOOD[index]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (out, kind) = runtime.block_on(through(all.as_bytes(), &sizes));
        prop_assert_eq!(String::from_utf8(out).unwrap(), all);
        prop_assert_eq!(kind, None);
    }

    #[test]
    fn strict_reader_never_panics_or_hangs(
        bytes in "(GET|POST| |/|HTTP/1\\.[01]|\r|\n|\r\n|a: b|content-length: [0-9]{1,3}|transfer-encoding: chunked|[0-9a-f]|;|\x00){0,40}",
        sizes in prop::collection::vec(1usize..20, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (out, _) = runtime.block_on(through(bytes.as_bytes(), &sizes));
        prop_assert!(out.len() <= bytes.len() + SUBSTITUTE.len());
    }
}

#[tokio::test]
async fn malformed_head_and_all_behind_it_are_withheld() {
    let bad =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    let all = format!("{}{bad}{}", GOOD[0], GOOD[1]);
    let (out, kind) = through(all.as_bytes(), &[7]).await;
    let expected = [GOOD[0].as_bytes(), SUBSTITUTE].concat();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        String::from_utf8(expected).unwrap()
    );
    assert!(matches!(kind, Some(Kind::Syntax(_))), "{kind:?}");
}

#[tokio::test]
async fn http2_passes_unread_after_its_preface() {
    let bytes = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], b"\x00\r\n\r\n\xff"].concat();
    assert_eq!(through(&bytes, &[5]).await, (bytes, None));
}

#[tokio::test]
async fn head_over_its_size_limit_is_rejected_though_it_never_ends() {
    let endless = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(20_000));
    let (_, kind) = through(endless.as_bytes(), &[4000]).await;
    assert_eq!(kind, Some(Kind::TooLarge));
}
