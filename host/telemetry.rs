//! The host's own log: to stderr, as text for people or JSON for collectors.

use clap::ValueEnum;
use std::io::Write;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Says something on stdout to whoever started the host, if they are still there: unlike `println!` it does not panic.
pub fn tell(what: &str) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// The same on stderr.
pub fn warn(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Starts logging. `HMS_LOG` sets what is shown, in the syntax of `tracing_subscriber`'s `EnvFilter`; the default is `info`.
///
/// # Errors
/// When `HMS_LOG` cannot be read.
pub fn start(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var("HMS_LOG").unwrap_or_else(|_| "info".into());
    let filter: EnvFilter = directives.parse().map_err(|error| {
        anyhow::anyhow!("HMS_LOG='{directives}' cannot be read: {error}; for example HMS_LOG=debug")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Else it says on stderr that stderr cannot be written, which panics: in every request, and in the shutdown.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
