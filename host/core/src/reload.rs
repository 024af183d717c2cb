//! What is read again when an operator asks for it (SIGHUP), and the one line that says what became
//! of it. All of it is read again by itself too, when it changes or is due; this is for those who
//! do not want to wait, and for who wants to know.

use tokio::task::spawn_blocking;

/// One thing that was read again.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadAgain {
    /// What it is, for people.
    pub what: String,
    /// What it is now, or why it is as it was.
    pub outcome: Result<String, String>,
}

/// Reads what waits for a disk, away from the request threads.
pub async fn blocking(
    what: &str,
    read: impl FnOnce() -> Result<String, String> + Send + 'static,
) -> ReadAgain {
    let outcome = spawn_blocking(read).await;
    ReadAgain {
        what: what.into(),
        outcome: outcome.unwrap_or_else(|error| Err(error.to_string())),
    }
}

/// A thing that is another or the same.
pub fn news(changed: bool) -> String {
    match changed {
        true => "new",
        false => "unchanged",
    }
    .into()
}

/// Says in the log what became of all.
pub fn say(all: &[ReadAgain]) {
    let line = line(all);
    match all.iter().any(|each| each.outcome.is_err()) {
        true => tracing::warn!("reloaded on SIGHUP, with errors: {line}"),
        false => tracing::info!("reloaded on SIGHUP: {line}"),
    }
}

fn line(all: &[ReadAgain]) -> String {
    let each = all.iter().map(|each| match &each.outcome {
        Ok(now) => format!("{}: {now}", each.what),
        Err(why) => format!("{}: as before ({why})", each.what),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reload_line_reports_every_part() {
        let all = [
            blocking("routes", || Ok("3 live".into())).await,
            blocking("certificate", || Err("no such file".into())).await,
            blocking("admin token", || Ok(news(false))).await,
        ];
        assert_eq!(
            line(&all),
            "routes: 3 live; certificate: as before (no such file); admin token: unchanged"
        );
    }
}
