//! Has the host keep what comes back: by handles that are held, with nothing of the SDK between.

use hms_window::{Problem, Response};
use wasip3::http::types::{Fields, Request, Response as Answer, Scheme};

wasip3::wit_bindgen::generate!({
    path: "../../../wit",
    world: "chain",
    runtime_path: "wasip3::wit_bindgen::rt",
    with: {
        "wasi:http/types@0.3.0": wasip3::http::types,
    },
    generate_all,
});

/// Their bodies are not read: what is held is the head alone.
pub async fn heads(target: &str, times: u64) -> Result<Response, Problem> {
    let mut held = Vec::new();
    for _ in 0..times {
        let answer = answer(target).await?;
        held.push(answer.get_headers());
    }
    Ok(Response::text(200, format!("{} heads\n", held.len())))
}

/// Their bodies are read to the end, behind which the trailers are.
pub async fn trailers(target: &str, times: u64) -> Result<Response, Problem> {
    let mut held = Vec::new();
    for _ in 0..times {
        let (_, end) = wasip3::wit_future::new(|| Ok(()));
        let (body, trailers) = Answer::consume_body(answer(target).await?, end);
        body.collect().await;
        held.extend(trailers.await.map_err(Problem::internal)?);
    }
    Ok(Response::text(200, format!("{} trailers\n", held.len())))
}

async fn answer(target: &str) -> Result<Answer, Problem> {
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, trailers, None);
    let set = request
        .set_path_with_query(Some(target))
        .and_then(|()| request.set_scheme(Some(&Scheme::Http)))
        .and_then(|()| request.set_authority(Some("teller")));
    set.map_err(|()| Problem::internal("the request cannot be said"))?;
    let answered = wasi::http::handler::handle(request).await;
    answered.map_err(Problem::internal)
}
