//! A window that says in every piece of an answer which release it is: in the header `x-release`
//! and again and again in the body. Whoever deploys it writes the number into the component's
//! bytes, once in its data and once in its code (`tests/harness/src/marked.rs`), so that an answer
//! of two releases, or of one release's code over another's data, shows.

use hms_window::{Problem, Request, Response, sleep_ms, window};
use std::hint::black_box;

/// The number in the data: the last eight bytes.
static MARK: [u8; 25] = *b"hms-release-mark:00000000";

/// The number in the code: the lower half.
const CODE_MARK: u64 = 0x4d41_524b_0000_0000;

/// Bytes of each numbered block of `/big`.
const BLOCK_BYTES: usize = 16 * 1024;

window!(handle);

/// `NNNNNNNN/NNNNNNNN`: the number in the data, and the number in the code.
fn tag() -> String {
    // Opaque to the compiler, which else would put copies of both wherever they are used.
    let in_data = String::from_utf8_lossy(&black_box(&MARK)[17..]);
    let in_code = black_box(CODE_MARK) & 0xffff_ffff;
    format!("{in_data}/{in_code:08}")
}

async fn handle(request: Request) -> Result<Response, Problem> {
    let (begun_by, number) = (tag(), |name| request.param::<u64>(name));
    let response = match &*request.segments() {
        // The tag, at once.
        ["now"] => Response::text(200, format!("{}\n", tag())),
        // ?ms=: the tag, after a while.
        ["sleep"] => {
            sleep_ms(number("ms")?.unwrap_or(100)).await;
            Response::text(200, format!("{}\n", tag()))
        }
        // ?pieces=&ms=: so many lines, each with the tag and its number, and a pause after each.
        ["stream"] => stream(
            number("pieces")?.unwrap_or(10),
            number("ms")?.unwrap_or(100),
        ),
        // ?blocks=: so many blocks of 16 KiB, each beginning with the tag and its number, with
        // their length told before.
        ["big"] => big(number("blocks")?.unwrap_or(16)),
        // The tag, what came as it comes, and the tag.
        ["echo"] => echo(&request),
        // The tag, and the id of the request, which no other has: an answer that is repeated shows.
        ["asked"] => {
            let id = request.text("x-request-id").unwrap_or_default();
            Response::text(
                number("status")?.unwrap_or(200) as u16,
                format!("{} {id}\n", tag()),
            )
        }
        // The tag, and then the answer breaks off.
        ["broken"] => Response::stream(200, async move |out| {
            out.write(format!("{}\n", tag())).await?;
            panic!("as asked")
        }),
        _ => return Err(Problem::not_found()),
    };
    let fields = request.param::<String>("fields")?.unwrap_or_default();
    let fields = fields.split('|').filter_map(|field| field.split_once(':'));
    // ?fields=: these fields as well, as `cache-control:max-age=60|vary:x-a`.
    Ok(fields
        .fold(response, |response, (name, value)| {
            response.header(name, value)
        })
        .header("x-release", begun_by))
}

fn stream(pieces: u64, ms: u64) -> Response {
    Response::stream(200, async move |out| {
        for piece in 0..pieces {
            out.write(format!("{} {piece}\n", tag())).await?;
            sleep_ms(ms).await;
        }
        Ok(())
    })
}

fn big(blocks: u64) -> Response {
    let response = Response::stream(200, async move |out| {
        for number in 0..blocks {
            let mut block = vec![b'.'; BLOCK_BYTES];
            let head = format!("{} {number}\n", tag()).into_bytes();
            block.splice(0..head.len(), head);
            out.write(block).await?;
        }
        Ok(())
    });
    response.header("content-length", blocks * BLOCK_BYTES as u64)
}

fn echo(request: &Request) -> Response {
    let mut body = request.body();
    Response::stream(200, async move |out| {
        out.write(format!("{}\n", tag())).await?;
        while let Some(chunk) = body.chunk().await? {
            out.write(chunk).await?;
        }
        out.write(format!("\n{}\n", tag())).await
    })
}
