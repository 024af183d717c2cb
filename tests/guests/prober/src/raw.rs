//! What the SDK has no words for, said to the host with nothing between.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};

/// `what` is the path behind `/raw/`.
pub async fn answer(what: &str, request: Request) -> Result<Response, ErrorCode> {
    match what.split_once('?').unwrap_or((what, "")) {
        // ?status: an answer of that status, or 500 where the host takes none of that.
        ("status", status) => Ok(respond(
            status.parse().unwrap_or(500),
            Fields::new(),
            b"as asked\n".to_vec(),
        )),
        // ?told-sent: a body of so many bytes, behind a head that tells another length.
        ("length", lengths) => {
            let (told, sent) = lengths.split_once('-').unwrap_or_default();
            let fields = Fields::new();
            let set = fields.append("content-length", told.as_bytes());
            let sent = vec![b'.'; sent.parse().unwrap_or(0)];
            Ok(match set {
                Ok(()) => respond(200, fields, sent),
                Err(_) => respond(500, Fields::new(), b"refused\n".to_vec()),
            })
        }
        // ?name: whether the host takes a field of that name.
        ("field", name) => {
            let fields = Fields::new();
            let said = match fields.append(name, b"x") {
                Ok(()) => "taken\n",
                Err(_) => "refused\n",
            };
            Ok(respond(200, fields, said.into()))
        }
        // The trailers of the request, as `name: value` a line.
        _ => {
            let (_, end) = wasip3::wit_future::new(|| Ok(()));
            let (body, trailers) = Request::consume_body(request, end);
            body.collect().await;
            let mut said = Vec::new();
            for (name, value) in trailers.await?.iter().flat_map(Fields::copy_all) {
                said.extend(name.into_bytes());
                said.extend(b": ");
                said.extend(value);
                said.push(b'\n');
            }
            Ok(respond(200, Fields::new(), said))
        }
    }
}

fn respond(status: u16, fields: Fields, body: Vec<u8>) -> Response {
    let (mut writer, stream) = wasip3::wit_stream::new();
    let (end, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields, Some(stream), trailers);
    if response.set_status_code(status).is_err() {
        let _ = response.set_status_code(500);
    }
    wasip3::spawn_local(async move {
        writer.write_all(body).await;
        drop(writer);
        let _ = end.write(Ok(None)).await;
    });
    response
}
