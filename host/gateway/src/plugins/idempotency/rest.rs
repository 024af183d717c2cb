//! An answer that is streamed, and read to its end even if its client disconnects: what the
//! upstream does with a request must not depend on that.

use bytes::Bytes;
use futures_util::stream;
use hms_core::body::{Body, BodyError};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// A frame, or the end. Without an end, the answer broke off.
type Word = Option<Result<Frame<Bytes>, BodyError>>;

/// The body for the client, and the task that reads `body`, which takes at most `alone` once the
/// client is gone.
pub(super) fn to_the_end(body: Body, alone: Duration) -> (Body, impl Future<Output = ()>) {
    // One frame ahead, so that a slow client still slows its upstream.
    let (send, receive) = mpsc::channel(1);
    (sent_on(receive), read(body, send, alone))
}

async fn read(mut body: Body, send: Sender<Word>, alone: Duration) {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = send.closed() => break,
        };
        let last = !matches!(frame, Some(Ok(_)));
        let gone = send.send(frame).await.is_err();
        if last {
            return;
        }
        if gone {
            break;
        }
    }
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(alone, rest).await.is_err() {
        tracing::warn!(
            "cutting off an answer to a request with an idempotency key that does not end"
        );
    }
}

fn sent_on(receive: Receiver<Word>) -> Body {
    let frames = stream::unfold(Some(receive), |receive| async {
        let mut receive = receive?;
        match receive.recv().await {
            Some(None) => None,
            Some(Some(frame)) => Some((frame, Some(receive))),
            None => Some((Err("the answer broke off".into()), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// A hundred frames, and how many of them were read.
    fn frames(last: Option<BodyError>) -> (Body, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = read.clone();
        let frames = stream::iter(0..100_u8).map(move |number| {
            count.fetch_add(1, SeqCst);
            Ok(Frame::data(Bytes::from(vec![number])))
        });
        let frames = frames.chain(stream::iter(last.map(Err)));
        (StreamBody::new(frames).boxed_unsync(), read)
    }

    #[tokio::test]
    async fn rest_of_a_body_arrives_whole_with_its_failure() {
        let (body, _) = frames(None);
        let (sent, work) = to_the_end(body, Duration::ZERO);
        let work = tokio::spawn(work);
        let bytes = sent.collect().await.unwrap().to_bytes();
        assert_eq!(bytes, (0..100).collect::<Vec<u8>>());
        work.await.unwrap();

        let (body, _) = frames(Some("cut".into()));
        let (sent, work) = to_the_end(body, Duration::ZERO);
        tokio::spawn(work);
        let cut = sent.collect().await.err().map(|error| error.to_string());
        assert_eq!(cut.as_deref(), Some("cut"));

        // The work that is lost is not taken for the end.
        let (body, _) = frames(None);
        let (sent, work) = to_the_end(body, Duration::ZERO);
        drop(work);
        assert!(sent.collect().await.is_err());
    }

    #[tokio::test]
    async fn rest_of_a_body_is_read_to_its_end_without_its_client() {
        let (body, read) = frames(None);
        let (mut sent, work) = to_the_end(body, Duration::from_secs(60));
        let work = tokio::spawn(work);
        sent.frame().await.unwrap().unwrap();
        assert!(read.load(SeqCst) < 100);
        drop(sent);
        work.await.unwrap();
        assert_eq!(read.load(SeqCst), 100);
    }
}
