//! The way of a form to a document, as the documents window takes it: whatever a client sends,
//! however it is cut into pieces, the reader ends, and the names and types that come out of it can
//! be sent as headers.
#![no_main]

use futures_util::stream::iter;
use libfuzzer_sys::fuzz_target;
use multer::{Constraints, Multipart, SizeLimit};
use std::convert::Infallible;

#[path = "../../components/docs/src/disposition.rs"]
mod disposition;
#[path = "../../components/docs/src/names.rs"]
mod names;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: (&str, Vec<Vec<u8>>)| {
    let (content_type, pieces) = input;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    // Mostly a form that could be one.
    let boundary = multer::parse_boundary(content_type).unwrap_or_else(|_| "b".into());
    let stream = iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(piece)));
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(LIMIT));
    let mut form = Multipart::with_constraints(stream, boundary, limits);
    runtime.block_on(async {
        while let Ok(Some(mut field)) = form.next_field().await {
            let part = field.headers().get("content-disposition");
            let part = disposition::parse(part.map_or(&[][..], |part| part.as_bytes()));
            if let Ok(part) = part
                && let Ok(name) = names::clean_name(part.file_name.as_deref())
            {
                assert!(!name.is_empty() && !name.chars().any(char::is_control));
            }
            let kind = names::clean_content_type(field.content_type().map(AsRef::as_ref));
            assert!(http::HeaderValue::from_str(&kind).is_ok(), "{kind:?}");
            while let Ok(Some(_)) = field.chunk().await {}
        }
    });
});
