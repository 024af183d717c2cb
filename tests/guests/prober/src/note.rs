//! A text that has a version, read and written as the conditions of a request say.

use hms_window::{Conditional, Method, Problem, Request, Response, Store, Validators};
use serde::{Deserialize, Serialize};

const TEXT_MAX_BYTES: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Note {
    version: u64,
    text: String,
}

impl Note {
    fn validators(&self) -> Validators {
        Validators::new().strong_tag(self.version.to_string())
    }
}

pub async fn handle(request: &Request, bucket: &str, key: &str) -> Result<Response, Problem> {
    let notes = Store::open(bucket)?;
    if *request.method() == Method::GET {
        let note: Note = notes.get(key)?.ok_or_else(Problem::not_found)?;
        let current = note.validators();
        let response = match request.conditional(Some(&current))? {
            Conditional::NotModified => Response::empty(304),
            Conditional::Proceed | Conditional::Whole => Response::text(200, note.text),
        };
        return Ok(response.validators(&current));
    }
    let body = request.body().read_to_end(TEXT_MAX_BYTES).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let note = notes.try_update(key, |old: Option<Note>| {
        request.conditional(old.as_ref().map(Note::validators).as_ref())?;
        Ok::<_, Problem>(Note {
            version: old.map_or(1, |old| old.version + 1),
            text: text.clone(),
        })
    })?;
    Ok(Response::empty(204).validators(&note.validators()))
}
