//! Texts of guests and their errors, bounded before the host keeps them.

use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{FutureConsumer, FutureReader, Lift, Lower, Source};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

/// Bytes of an error's text. 1 KiB: a sentence with its subject.
pub(super) const ERROR_BYTES: usize = 1 << 10;

/// The text of `words`, truncated to `most` bytes without formatting all of it first.
pub(super) fn cut(most: usize, words: fmt::Arguments<'_>) -> String {
    struct Cut(String, usize);

    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.1 - self.0.len();
            if text.len() > room {
                self.0.push_str(&text[..text.floor_char_boundary(room)]);
                return Err(fmt::Error);
            }
            self.0.push_str(text);
            Ok(())
        }
    }

    let mut text = Cut(String::new(), most);
    if text.write_fmt(words).is_err() {
        text.0.push('…');
    }
    text.0
}

/// The same future with errors whose texts have at most [`ERROR_BYTES`]: the host keeps an error
/// until somebody asks for it, and a guest may have thousands. `lost` receives the result if nobody
/// waits for it any more.
pub(super) fn shortened<T, D>(
    store: &mut StoreContextMut<'_, D>,
    future: FutureReader<Result<T, ErrorCode>>,
    lost: fn(&mut D, T),
) -> wasmtime::Result<FutureReader<Result<T, ErrorCode>>>
where
    Result<T, ErrorCode>: Lift + Lower,
    T: Send + Sync + 'static,
    D: 'static,
{
    let (told, said) = oneshot::channel();
    future.pipe(
        &mut *store,
        Shortener {
            told: Some(told),
            lost,
        },
    )?;
    // Without a result, none is passed on: the reader waits as it would for the guest.
    FutureReader::new(store, async move {
        match said.await {
            Ok(said) => wasmtime::error::Ok(said),
            Err(_) => std::future::pending().await,
        }
    })
}

struct Shortener<T, D> {
    told: Option<oneshot::Sender<Result<T, ErrorCode>>>,
    lost: fn(&mut D, T),
}

impl<T, D> FutureConsumer<D> for Shortener<T, D>
where
    Result<T, ErrorCode>: Lift,
    T: Send + 'static,
    D: 'static,
{
    type Item = Result<T, ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<D>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut said = None;
        source.read(&mut store, &mut said)?;
        if let (Some(said), Some(told)) = (said, self.told.take())
            && let Err(Ok(said)) = told.send(said.map_err(short))
        {
            (self.lost)(store.data_mut(), said);
        }
        Poll::Ready(Ok(()))
    }
}

fn short(mut error: ErrorCode) -> ErrorCode {
    use ErrorCode::{
        DnsError, HttpRequestHeaderSize, HttpRequestTrailerSize, HttpResponseContentCoding,
        HttpResponseHeaderSize, HttpResponseTrailerSize, HttpResponseTransferCoding, InternalError,
        TlsAlertReceived,
    };
    let words = match &mut error {
        DnsError(payload) => &mut payload.rcode,
        TlsAlertReceived(payload) => &mut payload.alert_message,
        HttpRequestHeaderSize(Some(payload))
        | HttpRequestTrailerSize(payload)
        | HttpResponseHeaderSize(payload)
        | HttpResponseTrailerSize(payload) => &mut payload.field_name,
        HttpResponseTransferCoding(words)
        | HttpResponseContentCoding(words)
        | InternalError(words) => words,
        _ => return error,
    };
    if let Some(text) = words
        && text.len() > ERROR_BYTES
    {
        text.truncate(text.floor_char_boundary(ERROR_BYTES));
        text.shrink_to_fit();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character_boundary_and_short_text_kept() {
        assert_eq!(cut(5, format_args!("{}", "short")), "short");
        assert_eq!(cut(5, format_args!("{}-{}", "ab", "ééé")), "ab-é…");
        assert_eq!(cut(3, format_args!("{:?}", "a".repeat(1 << 20))), "\"aa…");
    }

    #[test]
    fn long_error_text_is_shortened_and_its_kind_kept() {
        let long = || Some("é".repeat(1 << 20));
        let ErrorCode::InternalError(Some(words)) = short(ErrorCode::InternalError(long())) else {
            panic!("another error");
        };
        assert_eq!(words, "é".repeat(ERROR_BYTES / 2));
        assert!(words.capacity() <= ERROR_BYTES);
        assert!(matches!(
            short(ErrorCode::HttpResponseContentCoding(long())),
            ErrorCode::HttpResponseContentCoding(Some(words)) if words.len() <= ERROR_BYTES
        ));
        assert!(matches!(
            short(ErrorCode::LoopDetected),
            ErrorCode::LoopDetected
        ));
    }
}
