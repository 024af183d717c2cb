use super::accept_encoding::Coding;
use super::*;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use hms_core::body::{self, BodyError};
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::prelude::*;
use std::io::{Read, Write};
use tokio::sync::mpsc;

const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

fn rule() -> Rule {
    Rule {
        min_bytes: DEFAULT_MIN_BYTES,
        types: DEFAULT_TYPES
            .map(|text| MediaRange::parse(text).unwrap())
            .into(),
    }
}

fn accept_encoding(coding: Coding) -> AcceptEncoding {
    AcceptEncoding {
        coding: Some(coding),
        only_coded: false,
    }
}

/// An answer of 2 KiB of JSON, with these fields set.
fn answer(fields: &[(&'static str, &str)]) -> Response<Body> {
    let mut response = Response::new(body::full(vec![b' '; 2048]));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("content-length", HeaderValue::from_static("2048"));
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    response
}

fn compress(response: Response<Body>) -> Response<Body> {
    let accept_encoding = accept_encoding(Coding::Gzip);
    Compressor::default().compress(&rule(), accept_encoding, &Method::GET, response)
}

#[test]
fn answers_beyond_the_concurrency_limit_are_sent_uncompressed() {
    let compressor = Compressor {
        places: Arc::new(Semaphore::new(1)),
    };
    let compress = || {
        compressor.compress(
            &rule(),
            accept_encoding(Coding::Gzip),
            &Method::GET,
            answer(&[]),
        )
    };
    let first = compress();
    assert!(is_coded(&first));
    let second = compress();
    assert!(!is_coded(&second));
    assert_eq!(second.headers()["content-length"], "2048");
    drop(first);
    assert!(is_coded(&compress()));
}

fn is_coded(response: &Response<Body>) -> bool {
    response.headers().contains_key("content-encoding")
}

fn decode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        Coding::Gzip => {
            let mut decoder = flate2::read::GzDecoder::new(bytes);
            decoder.read_to_end(&mut plain).unwrap();
        }
        Coding::Brotli => {
            let mut decoder = brotli::Decompressor::new(bytes, 4096);
            decoder.read_to_end(&mut plain).unwrap();
        }
    }
    plain
}

/// A body of these pieces; before each that is empty the upstream pauses once.
fn in_pieces(pieces: Vec<Vec<u8>>) -> Body {
    let frames = stream::iter(pieces).then(|piece| async move {
        if piece.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok::<_, BodyError>(Frame::data(Bytes::from(piece)))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn place() -> tokio::sync::OwnedSemaphorePermit {
    Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
}

#[test]
fn compressed_answer_has_truthful_headers() {
    let fields = [
        ("etag", "\"1\""),
        ("accept-ranges", "bytes"),
        ("vary", "Origin"),
    ];
    let response = compress(answer(&fields));
    let headers = response.headers();
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["etag"], "W/\"1\"");
    let vary: Vec<_> = headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Origin", "accept-encoding"]);
    assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));

    let weak = compress(answer(&[
        ("etag", "W/\"1\""),
        ("vary", "\u{e9}, Accept-Encoding"),
    ]));
    assert_eq!(weak.headers()["etag"], "W/\"1\"");
    assert_eq!(weak.headers().get_all("vary").iter().count(), 1);
}

#[test]
fn uncompressible_answer_is_sent_unchanged() {
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity"),
        ("cache-control", "public, No-Transform"),
        ("cache-control", "a=\u{e9}, no-transform"),
        ("content-range", "bytes 0-1/2"),
        ("content-digest", "sha-256=:AA==:"),
        ("content-type", "image/png"),
        ("content-type", "text/event-stream"),
    ] {
        let response = compress(answer(&[(name, value)]));
        assert_eq!(response.headers().get("vary"), None, "{name}: {value}");
        assert_eq!(response.headers()["content-length"], "2048");
    }
    for status in [204, 205, 206, 304] {
        let mut response = answer(&[]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        assert!(!is_coded(&compress(response)), "{status}");
    }
    let mut small = answer(&[]).map(|_| body::full(vec![b' '; 1023]));
    small.headers_mut().remove("content-length");
    assert!(!is_coded(&compress(small)));
    assert!(is_coded(&compress(answer(&[(
        "content-type",
        "text/html; charset=utf-8"
    )]))));
}

#[test]
fn answer_left_uncompressed_for_one_client_still_varies() {
    let compressor = Compressor::default();
    let plain = compressor.compress(
        &rule(),
        AcceptEncoding::default(),
        &Method::GET,
        answer(&[]),
    );
    assert!(!is_coded(&plain));
    assert_eq!(plain.headers()["vary"], "accept-encoding");
    assert_eq!(plain.headers()["content-length"], "2048");
}

/// RFC 9110 sections 9.3.2 and 15.4.5.
#[test]
fn head_and_304_carry_the_headers_of_get_and_200() {
    let compressor = Compressor::default();
    let compress = |method, accept_encoding, answer| {
        compressor.compress(&rule(), accept_encoding, &method, answer)
    };
    let fields = [("etag", "\"1\""), ("accept-ranges", "bytes")];
    let head = |fields: &[(&'static str, &str)], length: Option<&str>| {
        let mut answer = answer(fields).map(|_| body::empty());
        let headers = answer.headers_mut();
        headers.remove("content-length");
        if let Some(length) = length {
            headers.insert("content-length", length.parse().unwrap());
        }
        answer
    };
    for coding in CODINGS {
        let get = compress(Method::GET, accept_encoding(coding), answer(&fields));
        // As an upstream tells the length, or does not.
        for length in [Some("2048"), None] {
            let head = compress(Method::HEAD, accept_encoding(coding), head(&fields, length));
            assert_eq!(head.headers(), get.headers(), "{length:?}");
            assert_eq!(head.body().size_hint().exact(), Some(0));
        }
        let small = compress(
            Method::HEAD,
            accept_encoding(coding),
            head(&fields, Some("100")),
        );
        assert!(!is_coded(&small) && small.headers()["etag"] == "\"1\"");

        for typed in [true, false] {
            let mut unmodified = head(&fields, None);
            *unmodified.status_mut() = StatusCode::NOT_MODIFIED;
            if !typed {
                unmodified.headers_mut().remove("content-type");
            }
            let seen = compress(Method::GET, accept_encoding(coding), unmodified);
            assert_eq!(seen.headers()["etag"], get.headers()["etag"], "{typed}");
            assert_eq!(seen.headers()["vary"], "accept-encoding");
            assert!(!is_coded(&seen));
        }
        let mut picture = head(&[("etag", "\"1\""), ("content-type", "image/png")], None);
        *picture.status_mut() = StatusCode::NOT_MODIFIED;
        let seen = compress(Method::GET, accept_encoding(coding), picture);
        assert_eq!(seen.headers()["etag"], "\"1\"");
        assert!(!seen.headers().contains_key("vary"));
    }
    let mut uncoded = head(&fields, None);
    *uncoded.status_mut() = StatusCode::NOT_MODIFIED;
    let seen = compress(Method::GET, AcceptEncoding::default(), uncoded);
    assert_eq!(seen.headers()["etag"], "\"1\"");
    assert_eq!(seen.headers()["vary"], "accept-encoding");
}

#[test]
fn client_refusing_identity_gets_small_answers_and_pictures_compressed() {
    let only = AcceptEncoding {
        coding: Some(Coding::Gzip),
        only_coded: true,
    };
    let small = answer(&[("content-type", "image/png")]).map(|_| body::full("small"));
    let response = Compressor::default().compress(&rule(), only, &Method::GET, small);
    assert!(is_coded(&response));
    let mut empty = answer(&[]).map(|_| body::empty());
    empty.headers_mut().remove("content-length");
    assert!(!is_coded(&Compressor::default().compress(
        &rule(),
        only,
        &Method::GET,
        empty
    )));
}

#[test]
fn answer_is_sent_uncompressed_only_while_all_permits_are_taken() {
    let compressor = Compressor {
        places: Arc::new(Semaphore::new(1)),
    };
    let compress = || {
        compressor.compress(
            &rule(),
            accept_encoding(Coding::Gzip),
            &Method::GET,
            answer(&[]),
        )
    };
    let first = compress();
    assert!(is_coded(&first) && !is_coded(&compress()));
    drop(first);
    assert!(is_coded(&compress()));
}

#[tokio::test]
async fn every_chunk_arrives_before_the_next_is_produced() {
    for coding in CODINGS {
        let (give, given) = mpsc::unbounded_channel::<Bytes>();
        let frames = stream::unfold(given, |mut given| async move {
            let data = given.recv().await?;
            Some((Ok::<_, BodyError>(Frame::data(data)), given))
        });
        let inner = StreamBody::new(frames).boxed_unsync();
        let mut body = Compressed::new(inner, coding, place());
        let mut gzip = flate2::write::GzDecoder::new(Vec::new());
        let mut brotli = brotli::DecompressorWriter::new(Vec::new(), 4096);
        for said in ["data: first\n\n", "data: second\n\n"] {
            give.send(said.into()).unwrap();
            let mut plain = Vec::new();
            while plain.is_empty() {
                let frame = body.frame().now_or_never();
                let data = frame
                    .expect("it is there")
                    .unwrap()
                    .unwrap()
                    .into_data()
                    .unwrap();
                plain = match coding {
                    Coding::Gzip => {
                        gzip.write_all(&data).unwrap();
                        gzip.flush().unwrap();
                        std::mem::take(gzip.get_mut())
                    }
                    Coding::Brotli => {
                        brotli.write_all(&data).unwrap();
                        brotli.flush().unwrap();
                        std::mem::take(brotli.get_mut())
                    }
                };
            }
            assert_eq!(String::from_utf8(plain).unwrap(), said, "{coding:?}");
            assert!(body.frame().now_or_never().is_none(), "nothing more came");
        }
    }
}

#[tokio::test]
async fn trailers_follow_the_last_byte_and_a_failure_stays_a_failure() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let frames: [Result<_, BodyError>; 2] = [
        Ok(Frame::data(Bytes::from("body"))),
        Ok(Frame::trailers(trailers.clone())),
    ];
    let inner = StreamBody::new(stream::iter(frames)).boxed_unsync();
    let whole = Compressed::new(inner, Coding::Gzip, place())
        .collect()
        .await
        .unwrap();
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(decode(Coding::Gzip, &whole.to_bytes()), b"body");

    let frames: [Result<Frame<Bytes>, BodyError>; 2] =
        [Ok(Frame::data(Bytes::from("body"))), Err("cut".into())];
    let inner = StreamBody::new(stream::iter(frames)).boxed_unsync();
    let cut = Compressed::new(inner, Coding::Brotli, place())
        .collect()
        .await;
    assert_eq!(
        cut.err().map(|error| error.to_string()).as_deref(),
        Some("cut")
    );
}

#[tokio::test]
async fn compression_of_a_large_chunk_yields_to_others() {
    let inner = body::full(vec![0; 4 << 20]);
    let mut body = Compressed::new(inner, Coding::Gzip, place());
    let mut turns = 0;
    while !body.is_end_stream() {
        if body.frame().now_or_never().is_none() {
            turns += 1;
        }
    }
    // 64 pieces of zeros, of which few give anything out.
    assert!(turns > 30, "{turns}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compressed_answer_decodes_to_its_input_however_chunked(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
            ],
            0..8,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for coding in CODINGS {
            let body = Compressed::new(in_pieces(pieces.clone()), coding, place());
            let sent = runtime.block_on(body.collect()).unwrap().to_bytes();
            prop_assert_eq!(decode(coding, &sent), pieces.concat());
        }
    }
}
