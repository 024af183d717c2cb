//! Calls the URL behind the `?` of its own, as the guest caller does. On `/copy` with a copy of the
//! fields of the request in hand; on `/claim` with what is for the host to say; on any other path
//! with none.

use wstd::http::{Body, Client, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let target = request.uri().query().unwrap_or_default();
    let mut call = Request::builder().method(request.method()).uri(target);
    let copies = request.uri().path() == "/copy";
    for (name, value) in request.headers().iter().filter(|_| copies) {
        call = call.header(name, value);
    }
    if request.uri().path() == "/claim" {
        for name in [
            "x-hms-user",
            "X_HMS_Scopes",
            "x-request-id",
            "traceparent",
            "te",
        ] {
            call = call.header(name, "forged");
        }
        call = call.header("x-own", "the guest's");
    }
    let call = call.body(request.into_body())?;
    match Client::new().send(call).await {
        Ok(answer) => Ok(answer),
        Err(error) => Ok(Response::builder()
            .status(502)
            .body(Body::from(format!("{error:?}\n")))?),
    }
}
