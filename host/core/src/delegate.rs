//! The methods that a wrapper of a stream or of a body hands on unchanged, so that its code shows
//! only what it changes.
//!
//! Every method is named where it is handed on, because none can be by default: a body that changes
//! bytes must not give the inner size hint, and a stream that looks at writes must see the vectored
//! ones too.

/// Inside of an `impl` of `AsyncRead`, `AsyncWrite`, hyper's `Read` or `Write`, or
/// `http_body::Body`: `delegate!(FIELD: METHOD, …)` hands these methods on to the field. `writes`
/// is all of `poll_write`, `poll_write_vectored` and `is_write_vectored`, which belong together.
#[macro_export]
macro_rules! delegate {
    ($field:tt: $($method:ident),+) => {
        $($crate::delegate!(@$method $field);)+
    };
    (@poll_read $field:tt) => {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.$field).poll_read(cx, buf)
        }
    };
    (@writes $field:tt) => {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.$field).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            pieces: &[std::io::IoSlice<'_>],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::pin::Pin::new(&mut self.$field).poll_write_vectored(cx, pieces)
        }

        $crate::delegate!(@is_write_vectored $field);
    };
    (@is_write_vectored $field:tt) => {
        fn is_write_vectored(&self) -> bool {
            self.$field.is_write_vectored()
        }
    };
    (@poll_flush $field:tt) => {
        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.$field).poll_flush(cx)
        }
    };
    (@poll_shutdown $field:tt) => {
        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.$field).poll_shutdown(cx)
        }
    };
    (@poll_frame $field:tt) => {
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            http_body::Body::poll_frame(std::pin::Pin::new(&mut self.$field), cx)
        }
    };
    (@is_end_stream $field:tt) => {
        fn is_end_stream(&self) -> bool {
            http_body::Body::is_end_stream(&self.$field)
        }
    };
    (@size_hint $field:tt) => {
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::Body::size_hint(&self.$field)
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::body::{Body, BodyError, full};
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncWrite, AsyncWriteExt};

    /// Takes all pieces of a vectored write at once.
    #[derive(Default)]
    struct Inner(Vec<u8>);

    impl AsyncWrite for Inner {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.extend(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let before = self.0.len();
            pieces.iter().for_each(|piece| self.0.extend(&**piece));
            Poll::Ready(Ok(self.0.len() - before))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
        }
    }

    struct Stream(Inner);

    impl AsyncWrite for Stream {
        delegate!(0: writes, poll_flush, poll_shutdown);
    }

    struct Wrapped(Body);

    impl http_body::Body for Wrapped {
        type Data = Bytes;
        type Error = BodyError;

        delegate!(0: poll_frame, is_end_stream, size_hint);
    }

    #[tokio::test]
    async fn delegating_stream_forwards_writes_and_shutdown() {
        let mut stream = Stream(Inner::default());
        assert!(stream.is_write_vectored());
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b"cd")];
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 4);
        stream.write_all(b"e").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.0.0, b"abcde");
        assert!(stream.shutdown().await.is_err());
    }

    #[tokio::test]
    async fn delegating_body_forwards_its_size_and_frames() {
        let body = Wrapped(full("abc"));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        assert!(!http_body::Body::is_end_stream(&body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
