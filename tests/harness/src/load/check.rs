//! What a right answer is: a 2xx, whole, byte for byte as the release that it names says it, and
//! from a release that was live.

use super::super::marked;
use super::ask::{Ask, What};
use super::client::Clients;
use super::ledger::Ledger;
use super::result::Failure;
use http_body_util::BodyExt;

/// Bytes of each block of `/big`, as in the guest.
const BLOCK_BYTES: usize = 16 * 1024;

/// Sends `ask`, reads the answer to its end and checks all of it.
pub(super) async fn exchange(clients: &Clients, ledger: &Ledger, ask: &Ask) -> Result<(), Failure> {
    let mark = ledger.mark();
    let response = clients.send(ask).await?;
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| Failure::cut(body.len(), &error))?;
        body.extend(frame.into_data().unwrap_or_default());
    }
    if !head.status.is_success() {
        return Err(Failure::status(head.status, &body));
    }
    let told = head.headers.get("x-release");
    let told = told.and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(number) = marked::number(told) else {
        return Err(Failure::mixed(told));
    };
    compare(ask, told, &body)?;
    if !ledger.allows(mark, number) {
        return Err(Failure::stale(number, &ledger.allowed(mark)));
    }
    Ok(())
}

fn compare(ask: &Ask, tag: &str, body: &[u8]) -> Result<(), Failure> {
    let right = expected(ask, tag);
    if body == right {
        return Ok(());
    }
    if body.len() < right.len() {
        return Err(Failure::truncated(body.len(), right.len()));
    }
    // The places of the tags, as those that differ between two expected answers.
    let (ones, twos) = (
        expected(ask, &"1".repeat(tag.len())),
        expected(ask, &"2".repeat(tag.len())),
    );
    let is_tag = |at: usize| ones.get(at) != twos.get(at);
    let wrong: Vec<usize> = (0..body.len())
        .filter(|&at| body.get(at) != right.get(at))
        .collect();
    Err(if wrong.iter().all(|&at| is_tag(at)) {
        let at = wrong[0];
        let end = body.len().min(at + tag.len());
        Failure::mixed(&format!(
            "{tag} and at byte {at} {}",
            String::from_utf8_lossy(&body[at..end])
        ))
    } else {
        Failure::wrong_bytes(wrong[0])
    })
}

/// The body that the release of that tag gives.
fn expected(ask: &Ask, tag: &str) -> Vec<u8> {
    let line = format!("{tag}\n").into_bytes();
    match ask.what {
        What::Now | What::Sleep { .. } => line,
        What::Stream { pieces, .. } => (0..pieces)
            .flat_map(|piece| format!("{tag} {piece}\n").into_bytes())
            .collect(),
        What::Big { blocks } => {
            let mut body = Vec::with_capacity(blocks as usize * BLOCK_BYTES);
            for number in 0..blocks {
                body.extend(format!("{tag} {number}\n").into_bytes());
                body.resize((number as usize + 1) * BLOCK_BYTES, b'.');
            }
            body
        }
        What::Echo { pieces, .. } => {
            let mut body = line.clone();
            (0..pieces).for_each(|piece| body.extend(ask.upload(piece)));
            body.push(b'\n');
            body.extend(line);
            body
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::result::Kind;

    fn kind(body: &[u8]) -> Option<Kind> {
        let ask = Ask {
            turn: 0,
            what: What::Stream { pieces: 3, ms: 0 },
            way: super::super::ask::Way::KeepAlive,
        };
        compare(&ask, &marked::tag(7), body)
            .err()
            .map(|failure| failure.kind)
    }

    fn lines(numbers: [u32; 3]) -> Vec<u8> {
        let line = |(piece, number)| format!("{} {piece}\n", marked::tag(number));
        let lines: String = numbers.into_iter().enumerate().map(line).collect();
        lines.into_bytes()
    }

    #[test]
    fn every_kind_of_wrong_body_is_distinguished() {
        let right = lines([7, 7, 7]);
        assert_eq!(kind(&right), None);
        assert_eq!(kind(&lines([7, 7, 8])), Some(Kind::Mixed));
        assert_eq!(kind(&right[..right.len() - 1]), Some(Kind::Truncated));
        let mut wrong = right.clone();
        wrong[18] = b'9';
        assert_eq!(kind(&wrong), Some(Kind::WrongBytes));
        let mut longer = right.clone();
        longer.push(b'\n');
        assert_eq!(kind(&longer), Some(Kind::WrongBytes));
    }

    #[test]
    fn tag_with_differing_code_and_data_is_no_release() {
        assert_eq!(marked::number(&marked::tag(7)), Some(7));
        assert_eq!(marked::number("00000007/00000008"), None);
        assert_eq!(marked::number(""), None);
    }
}
