//! The command line: one file a family of verbs. All but `new`, `serve`, `up`, `build`, `test`,
//! `inspect`, `token`, `check` and `restore` are clients of the admin API.

/// A line on stdout, as `println!`, but without a panic where its reader has gone
/// (`hms windows | head -1`).
macro_rules! say {
    ($($part:tt)*) => {
        hms_telemetry::print(&format!($($part)*))
    };
}

mod backup;
mod banner;
mod build;
mod check;
mod client;
mod deploy;
mod environment;
mod events;
mod grants;
mod identity;
mod inspect;
mod keys;
mod limits;
mod new;
mod outgoing;
mod project;
mod requests;
mod restore;
mod routes;
mod serve;
mod show;
mod test;
mod tokens;
mod top;
mod up;
mod verbs;

use crate::config::Settings;
use crate::signals::Interrupted;
use anyhow::Context;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use environment::FromEnvironment;
use hms_net::lanes::{BLOCKING_THREAD_IDLE, threads_beside};
use hms_runtime::compile::{CompileError, child};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit status if a change is in effect but not on disk yet: `EX_TEMPFAIL` of sysexits.h.
const NOT_DURABLE: u8 = 75;

/// The exit status if a backup is intact but incomplete.
const INCOMPLETE: u8 = 3;

/// A WebAssembly plugin host and API gateway: sandboxed services, replaced without downtime.
#[derive(Debug, Parser)]
#[command(name = "hms", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the folder of a new window (for authors)
    New(new::New),
    /// Build windows, serve and deploy them, again whenever a source is saved (for authors)
    Up(up::Up),
    /// Build windows (for authors)
    Build(build::Build),
    /// Test windows beside a real host (for authors)
    Test(test::Test),
    /// Show what a component exports, imports and consists of (for authors)
    Inspect(inspect::Inspect),
    /// Serve the deployed windows (for operators)
    Serve(Settings),
    /// Deploy a component to the running host
    Deploy(deploy::Deploy),
    /// List the windows
    Windows(show::Windows),
    /// List the releases of a window that you can roll back to
    History(show::History),
    /// List the routes: live ones, and refused files with the reason
    Routes(routes::Routes),
    /// Show the windows live: rates, errors, latencies, instances, queues and stores
    Top(top::Top),
    /// List the last requests, or show where the time of one went
    Requests(requests::Requests),
    /// Show the output of a window's instances
    Logs(show::Logs),
    /// Show or change the limits of a window
    Limits(limits::Limits),
    /// Show what windows are granted, or change it for one window
    Grants(grants::Grants),
    /// Show the events that a window emitted, or follow them
    Events(events::EventLog),
    /// List the subscriptions to events, or pause, resume or replay one
    Subscriptions(events::Subscriptions),
    /// List the events that could not be delivered, or have them tried again or dropped
    Parked(events::Parked),
    /// List the schedules and when they run next, or run one now
    Schedules(events::Schedules),
    /// Open a stopped window
    Start(verbs::Start),
    /// Close a window; requests in flight complete
    Stop(verbs::Stop),
    /// Make an earlier release live again
    Rollback(verbs::Rollback),
    /// Change a running canary's share of the traffic
    Canary(verbs::Canary),
    /// Make a running canary the live release
    Promote(verbs::Promote),
    /// End a running canary; the live release gets all requests again
    Abort(verbs::Abort),
    /// Remove a window; asks for confirmation
    Remove(verbs::Remove),
    /// Create a development token, signed with the data folder's secret
    Token(tokens::Token),
    /// Create, list and revoke API keys for machine callers
    Key(keys::Keys),
    /// Back up the running host, or verify a backup
    Backup(backup::Backup),
    /// Create a data folder from a backup
    Restore(restore::Restore),
    /// Check route manifests and grants without serving
    Check(check::Check),
    /// Compiles one component: the child process of a deploy
    #[command(name = hms_runtime::compile::VERB, hide = true)]
    CompileComponent {
        wasm: PathBuf,
        digest: String,
        compiled: PathBuf,
        memory_bytes: u64,
        #[arg(long)]
        source_lines: bool,
    },
}

/// How to reach the running host.
#[derive(Debug, Clone, Args)]
struct HostArgs {
    /// The admin address of the running host
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9001",
        env = "HMS_ADMIN"
    )]
    admin: String,
    /// The host's data folder, which has the admin token
    #[arg(long, value_name = "DIR", default_value = "data", env = "HMS_DATA")]
    data: PathBuf,
    /// The admin token itself, instead of the one in the data folder
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HMS_ADMIN_TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,
}

/// Takes a variable that is set to nothing as one that is not set, for every option of `command`:
/// `HMS_JWKS=${JWKS:-}` in a compose file or a unit says nothing.
fn without_empty_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        match value.is_some_and(|value| value.is_empty()) {
            true => arg.env(None::<&'static str>),
            false => arg,
        }
    });
    command.mut_subcommands(without_empty_variables)
}

/// The command line and the environment, and which settings come from the latter. Says what is
/// wrong and ends the process where they cannot be read.
fn parse() -> (Cli, FromEnvironment) {
    let mut command = without_empty_variables(Cli::command());
    let args: Vec<OsString> = std::env::args_os().collect();
    let environment = FromEnvironment::of(&command, &args);
    let matches = command.try_get_matches_from_mut(args);
    let matches = matches.unwrap_or_else(|mut error| {
        environment.name_in(&mut error);
        error.exit()
    });
    let read = Cli::from_arg_matches(&matches);
    let cli = read.unwrap_or_else(|error| error.format(&mut command).exit());
    (cli, environment)
}

/// Parses the command line and runs it. Errors go to stderr as one sentence; the status says
/// whether it worked.
pub fn main() -> ExitCode {
    let (cli, environment) = parse();
    let status = match run(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<client::NotDurable>() => {
            hms_telemetry::warn(&format!("hms: warning: {error:#}"));
            ExitCode::from(NOT_DURABLE)
        }
        Err(error) if error.is::<backup::Incomplete>() => {
            hms_telemetry::warn(&format!("hms: {error:#}"));
            ExitCode::from(INCOMPLETE)
        }
        Err(error) if error.is::<test::Failed>() => {
            hms_telemetry::warn(&format!("hms: {error:#}"));
            let status = error.downcast_ref::<test::Failed>();
            status.map_or(ExitCode::FAILURE, |failed| ExitCode::from(failed.status))
        }
        Err(error) if error.is::<Interrupted>() => {
            hms_telemetry::warn(&format!("hms: {error:#}"));
            let status = error.downcast_ref::<Interrupted>();
            let status = status.and_then(|error| u8::try_from(error.exit_status()).ok());
            status.map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            hms_telemetry::fail(&environment.named(&format!("hms: {error:#}")));
            match error.downcast_ref::<CompileError>() {
                Some(error) => ExitCode::from(error.exit_status()),
                None => ExitCode::FAILURE,
            }
        }
    };
    hms_telemetry::finish();
    status
}

/// Asks whoever sits at the terminal. Not by `print!`, which panics where nobody reads.
fn agreed(question: &str) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout();
    write!(stdout, "{question} [y/N] ")?;
    stdout.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn run(verb: Verb) -> anyhow::Result<()> {
    // The child has limits on its memory: no runtime, no threads of ours.
    if let Verb::CompileComponent {
        wasm,
        digest,
        compiled,
        memory_bytes,
        source_lines,
    } = verb
    {
        return Ok(child(
            &wasm,
            &digest,
            &compiled,
            memory_bytes,
            source_lines,
        )?);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(threads_beside())
        .thread_keep_alive(BLOCKING_THREAD_IDLE)
        .build()
        .context("the asynchronous runtime could not be started")?
        .block_on(async {
            match verb {
                Verb::New(new) => new.run(),
                Verb::Up(up) => up.run().await,
                Verb::Build(build) => build.run().await,
                Verb::Test(test) => test.run().await,
                Verb::Inspect(inspect) => inspect.run(),
                Verb::Serve(settings) => serve::run(settings).await,
                Verb::Deploy(deploy) => deploy.run().await,
                Verb::Windows(windows) => windows.run().await,
                Verb::History(history) => history.run().await,
                Verb::Routes(routes) => routes.run().await,
                Verb::Top(top) => top.run().await,
                Verb::Requests(requests) => requests.run().await,
                Verb::Logs(logs) => logs.run().await,
                Verb::Limits(limits) => limits.run().await,
                Verb::Grants(grants) => grants.run().await,
                Verb::Events(events) => events.run().await,
                Verb::Subscriptions(subscriptions) => subscriptions.run().await,
                Verb::Parked(parked) => parked.run().await,
                Verb::Schedules(schedules) => schedules.run().await,
                Verb::Start(start) => start.run().await,
                Verb::Stop(stop) => stop.run().await,
                Verb::Rollback(rollback) => rollback.run().await,
                Verb::Canary(canary) => canary.run().await,
                Verb::Promote(promote) => promote.run().await,
                Verb::Abort(abort) => abort.run().await,
                Verb::Remove(remove) => remove.run().await,
                Verb::Token(token) => token.run(),
                Verb::Key(keys) => keys.run().await,
                Verb::Backup(backup) => backup.run().await,
                Verb::Restore(restore) => restore.run().await,
                Verb::Check(check) => check.run(),
                Verb::CompileComponent { .. } => Ok(()),
            }
        })
}
