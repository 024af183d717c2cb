//! `hms events`.

use crate::cli::HostArgs;
use crate::cli::client::Client;
use crate::cli::show::{dash, size, text, time};
use clap::Args;
use form_urlencoded::Serializer;
use hms_api::{Event, EventList};
use hms_telemetry::print_json_line;
use hms_windows::WindowName;
use http::Method;
use serde_json::Value;

/// Characters of the data in a line of the list.
const SHOWN_CHARS: usize = 60;

/// Show the events that a window emitted: its outbox, oldest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hms events payments --follow\n  \
    hms events payments --after 0 --type gov.payment.\n  \
    hms events payments 17")]
pub(in crate::cli) struct EventLog {
    /// The window
    window: WindowName,
    /// Show only this event, with all its data
    #[arg(value_name = "SEQUENCE", conflicts_with_all = ["after", "follow", "kind"])]
    sequence: Option<u64>,
    /// Show all events after this one; 0 for all that are kept [default: look at the last 100]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Show only events whose type begins so
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Wait for more events, until it is interrupted
    #[arg(long)]
    follow: bool,
    /// Print JSON: one line for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

impl EventLog {
    pub(in crate::cli) async fn run(self) -> anyhow::Result<()> {
        let client = self.host.client()?;
        if let Some(sequence) = self.sequence {
            return self.show(&client, sequence).await;
        }
        let mut after = self.after;
        let mut has_head = self.json;
        // What was there before, as it is, and then what comes.
        let mut waits = false;
        loop {
            let path = self.path(after, waits);
            let answer = client.call(Method::GET, &path).await?;
            let list: EventList = answer.read()?;
            // Only once it is known that there is such a window.
            if !std::mem::replace(&mut has_head, true) {
                let [sequence, when, kind, subject] = ["SEQUENCE", "TIME", "TYPE", "SUBJECT"];
                line(sequence, when, kind, subject, "DATA");
            }
            match self.json {
                true => {
                    let list: Value = answer.read()?;
                    let events = list.get("events").and_then(Value::as_array);
                    for event in events.into_iter().flatten() {
                        print_json_line(event);
                    }
                }
                false => list.events.iter().for_each(listed),
            }
            after = Some(list.after);
            waits = self.follow && !list.more;
            if !list.more && !self.follow {
                return Ok(());
            }
        }
    }

    fn path(&self, after: Option<u64>, waits: bool) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
            query.append_pair("limit", "1000");
        }
        if let Some(kind) = &self.kind {
            query.append_pair("type", kind);
        }
        if waits {
            query.append_pair("follow", "true");
        }
        format!("/windows/{}/events?{}", self.window, query.finish())
    }

    async fn show(&self, client: &Client, sequence: u64) -> anyhow::Result<()> {
        let path = format!("/windows/{}/events/{sequence}", self.window);
        let answer = client.call(Method::GET, &path).await?;
        if self.json {
            print_json_line(&answer.read()?);
            return Ok(());
        }
        let event: Event = answer.read()?;
        let optional = |text_of: Option<&String>| text_of.map_or_else(dash, |it| text(it));
        say!("sequence      {}", event.sequence);
        say!("id            {}", text(&event.id));
        say!("type          {}", text(&event.r#type));
        say!("time          {}", time(event.time));
        say!("subject       {}", optional(event.subject.as_ref()));
        say!("partition key {}", optional(event.partition_key.as_ref()));
        say!("content type  {}", optional(event.content_type.as_ref()));
        say!("size          {}", size(event.bytes));
        match (&event.data, &event.data_base64) {
            (Some(data), _) => say!("\n{}", text(data)),
            (None, Some(base64)) => say!("\nin base64: {}", text(base64)),
            (None, None) => {}
        }
        Ok(())
    }
}

fn listed(event: &Event) {
    let data = match &event.data {
        Some(data) if data.chars().count() <= SHOWN_CHARS => text(data),
        Some(data) => {
            let begin: String = data.chars().take(SHOWN_CHARS).collect();
            format!("{}… ({})", text(&begin), size(event.bytes))
        }
        None if event.bytes == 0 => dash(),
        None => format!("({})", size(event.bytes)),
    };
    let subject = event.subject.as_deref().map_or_else(dash, text);
    let sequence = event.sequence.to_string();
    line(
        &sequence,
        &time(event.time),
        &text(&event.r#type),
        &subject,
        &data,
    );
}

/// Columns of one width, because the lines of `--follow` come one by one.
fn line(sequence: &str, when: &str, kind: &str, subject: &str, data: &str) {
    say!("{sequence:<8}  {when:<24}  {kind:<28}  {subject:<36}  {data}");
}
