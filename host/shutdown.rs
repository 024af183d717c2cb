//! How the host ends: the first SIGTERM or Ctrl-C asks, the second insists.

use crate::telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit status after an insisting signal: that of a process ended by SIGINT.
const INSISTED: i32 = 130;

/// Watches for signals; the token is cancelled by the first. A second ends the process at once.
///
/// # Errors
/// When the system does not let signals be watched.
pub fn watch() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("shutting down; once more ends at once");
        shutdown.cancel();
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("ended at once");
        telemetry::finish();
        std::process::exit(INSISTED);
    });
    Ok(token)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
