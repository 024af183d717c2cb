//! Everything that a guest could do to its neighbours, as one table: what is asked of which window,
//! what its client must see, which count must move, and how much of the machine's memory it may
//! take meanwhile. The end-to-end test goes through it in small, `benches/hostile` at length.

use super::guests::guest;
use super::host::open_route;
use super::http::{Answer, try_http2, try_request};
use super::process::Peak;
use super::{Host, eventually};
use http::Method;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One thing that a guest does.
pub struct Act {
    pub name: &'static str,
    /// The window that does it.
    pub window: &'static str,
    pub path: &'static str,
    pub client: Client,
    pub outcome: Outcome,
    /// The reason under which it is counted; none where nothing was exceeded.
    pub reason: Option<&'static str>,
}

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    Get,
    Http2,
    /// With a body of so many MiB.
    Upload(usize),
    /// Reads so slowly that the answer stands still.
    Slow,
    /// With a key or a value of so many bytes.
    Put(usize),
    /// With this as the header by which the middleware is told what to do.
    Meddle(&'static str),
}

/// What the client must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host's answer.
    Problem(u16, &'static str),
    /// An answer that began and visibly did not end.
    Cut,
    /// The guest's own, which coped.
    Whole(u16),
}

const fn act(
    name: &'static str,
    (window, path): (&'static str, &'static str),
    client: Client,
    outcome: Outcome,
    reason: &'static str,
) -> Act {
    let reason = if reason.is_empty() {
        None
    } else {
        Some(reason)
    };
    Act {
        name,
        window,
        path,
        client,
        outcome,
        reason,
    }
}

use Client::{Get, Http2, Meddle, Put, Slow, Upload};
use Outcome::{Cut, Problem, Whole};

const fn prober(path: &'static str) -> (&'static str, &'static str) {
    ("prober", path)
}

const fn flooder(path: &'static str) -> (&'static str, &'static str) {
    ("flooder", path)
}

const fn hoarder(path: &'static str) -> (&'static str, &'static str) {
    ("hoarder", path)
}

const fn keeper(path: &'static str) -> (&'static str, &'static str) {
    ("keeper", path)
}

/// The memory limit of windows in MiB, and of those in [`SMALL`].
const MEMORY_MIB: f64 = 128.0;
const SMALL_MIB: f64 = 32.0;

/// Windows of little memory: what they have the host keep beyond it stands out.
const SMALL: [&str; 3] = ["hoarder", "keeper", "between"];

/// How long an answer of theirs may be quiet.
const QUIET: &str = "plugins:\n  - timeout: {stream-idle: 5s}\n";

/// What leads to "teller" through the middleware "between".
const BETWEEN: &str = "uri: /between/**\nupstream: http://hms-svc-teller\nstrip-prefix: /between\n\
    plugins:\n  - wasm: {window: between}\n";

/// MiB that one request may take of the host beside its window's memory limit: what it hands over
/// in one call, 16 MiB; what of it is not counted, 10,000 tasks among it; its bodies and
/// connections, and what the allocator keeps.
const SLACK_MIB: f64 = 32.0;

/// The table.
#[rustfmt::skip]
pub const ACTS: &[Act] = &[
    act("an endless loop", ("spinner", "/spin"), Get, Problem(504, "cpu-time"), "cpu-time"),
    act("an endless loop of bulk memory operations", ("bulk", "/"), Get, Problem(504, "cpu-time"), "cpu-time"),
    act("sleeping for ever", prober("/sleep?ms=100000000"), Get, Problem(504, "wall-time"), "wall-time"),
    act("blocking in a thread's sleep", prober("/poll"), Get, Problem(504, "wall-time"), "wall-time"),
    act("polling with no timeout", flooder("/poll"), Get, Problem(504, "wall-time"), "wall-time"),
    act("memory growth", prober("/alloc?mib=4000"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("growth of many memories", ("memories", "/"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("growth of tables", ("tables", "/"), Get, Problem(500, "instance-trapped"), "instance-trapped"),
    act("stack overflow by recursion", prober("/recurse"), Get, Problem(500, "instance-trapped"), "instance-trapped"),
    act("a million header fields", flooder("/many-headers"), Get, Problem(502, "response-headers-too-large"), "response-headers-too-large"),
    act("a header field of 64 MiB", flooder("/huge-header"), Get, Problem(500, "host-call-too-large"), "host-call-too-large"),
    act("CR and LF in a header field", flooder("/split-header"), Get, Whole(500), ""),
    act("an endless body to a slow reader", prober("/endless"), Slow, Cut, "response-too-large"),
    act("an endless body", prober("/endless"), Get, Cut, "response-too-large"),
    act("an upload that is never read", prober("/unread"), Upload(8), Whole(200), ""),
    act("an upload that is never read nor answered", prober("/poll"), Upload(8), Problem(504, "wall-time"), "wall-time"),
    act("empty writes, HTTP/1.1", flooder("/empty-writes"), Get, Cut, "stream-idle"),
    act("empty writes, HTTP/2", flooder("/empty-writes"), Http2, Cut, "stream-idle"),
    act("empty writes without waiting", flooder("/empty-writes-unflushed"), Get, Cut, "instance-trapped"),
    act("empty writes without waiting, HTTP/2", flooder("/empty-writes-unflushed"), Http2, Cut, "instance-trapped"),
    act("empty writes, WASI 0.3", prober("/empty-pieces"), Get, Cut, "stream-idle"),
    act("a trap", prober("/trap"), Get, Problem(500, "instance-trapped"), "instance-trapped"),
    act("a trap after half a body", prober("/trap-mid"), Get, Cut, "instance-trapped"),
    act("a trap after half a body of no told length", prober("/trap-mid?length=false"), Get, Cut, "instance-trapped"),
    act("a trap after half a body, HTTP/2", prober("/trap-mid?length=false"), Http2, Cut, "instance-trapped"),
    act("returning without a response, WASI 0.2", flooder("/no-response"), Get, Problem(502, "no-response"), "no-response"),
    act("returning an error, WASI 0.3", prober("/no-response"), Get, Problem(502, "no-response"), "no-response"),
    act("a flood of log lines", prober("/log?lines=10000&bytes=100"), Get, Whole(204), ""),
    act("a flood of log without newlines", prober("/log?lines=10000&bytes=100&newline=false"), Get, Whole(204), ""),
    act("leaking handles", flooder("/handles"), Get, Problem(500, "handle-limit"), "handle-limit"),
    act("tasks that never end", prober("/subtasks"), Get, Problem(500, "handle-limit"), "handle-limit"),
    act("asking for a list of gigabytes", flooder("/gigabytes"), Get, Problem(500, "host-call-too-large"), "host-call-too-large"),
    act("ten million cheap host calls", ("caller", "/calls"), Get, Problem(500, "host-calls"), "host-calls"),
    act("a value of absurd size", prober("/kv/b/k"), Put(5 << 20), Whole(500), "value-too-large"),
    act("filling the store", prober("/fill/full?count=100000&bytes=4000"), Get, Whole(507), "store-full"),
    act("a full scan", prober("/scan/full"), Get, Whole(200), ""),
    act("a bucket name of 15 MiB", hoarder("/hoard/names"), Get, Whole(500), "key-too-long"),
    act("holding header fields", hoarder("/hoard/fields"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding copies of header fields", hoarder("/hoard/copies"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding header fields that were emptied", hoarder("/hoard/emptied"), Get, Whole(200), ""),
    act("holding requests to long names", hoarder("/hoard/requests"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding errors of much text", hoarder("/hoard/errors"), Get, Whole(200), ""),
    act("holding values by compare-and-swap", hoarder("/hoard/values"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding header fields, WASI 0.2", keeper("/hoard-fields"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding bodies that nobody takes", keeper("/hoard-bodies"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding trailers that nobody takes", keeper("/hoard-trailers"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding requests of long methods", keeper("/hoard-methods"), Get, Problem(500, "memory-limit"), "memory-limit"),
    act("holding the heads of answers", ("between", "/large-head"), Meddle("hold-heads 200"), Problem(500, "memory-limit"), "memory-limit"),
    act("holding the trailers of answers", ("between", "/large-trailers"), Meddle("hold-trailers 200"), Problem(500, "memory-limit"), "memory-limit"),
    act("calling itself without a grant", prober("/outbound?url=http://hms-svc-prober/spin"), Get, Whole(200), "not-granted"),
];

/// The windows of the table, to be opened beside a victim.
async fn windows() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("prober", guest("prober").await),
        ("flooder", guest("flooder").await),
        ("spinner", guest("prober").await),
        ("caller", guest("flooder").await),
        ("hoarder", guest("prober").await),
        ("keeper", guest("flooder").await),
        ("between", guest("meddler").await),
        ("teller", guest("flooder").await),
        ("bulk", component(BULK)),
        ("memories", memories()),
        ("tables", component(TABLES)),
    ]
}

/// A host with the windows of the table and `victim` beside them, and the limits that the table is
/// written for.
pub async fn host(victim: &[u8], args: &[&str]) -> Host {
    let hostile = windows().await;
    let mut all = vec![("victim", victim)];
    all.extend(hostile.iter().map(|(name, wasm)| (*name, wasm.as_slice())));
    let host = Host::with_open_windows_and(&all, args).await;
    for (name, _) in &hostile {
        let route = format!("{}{QUIET}", open_route(name));
        host.write_route(&format!("{name}.yaml"), &route);
        // The breaker would keep most of it from happening.
        let mut set = vec![
            *name,
            "--failures",
            "0",
            "--store",
            "16MiB",
            "--response-body",
            "16MiB",
        ];
        if SMALL.contains(name) {
            // Most of what it does is the host's work, which a build for development does slowly.
            set.extend([
                "--memory",
                "32MiB",
                "--cpu-time",
                "4s",
                "--wall-time",
                "40s",
            ]);
        }
        if *name == "teller" {
            set.extend(["--response-header", "1MiB"]);
        }
        if *name == "caller" {
            set.extend(["--host-calls", "50000", "--wall-time", "30s"]);
        }
        if ["spinner", "bulk"].contains(name) {
            // Some at once share one processor, and all must be through before their wall time is.
            set.extend(["--cpu-time", "200ms", "--wall-time", "30s"]);
        }
        let output = host.cli("limits", &set).await;
        assert!(output.status.success(), "{output:?}");
    }
    host.write_route("between.yaml", BETWEEN);
    let url = format!("{}/between/", host.gateway());
    eventually("the middleware is in its route", || async {
        // Before that it has nowhere to call on to.
        let answer = try_request(Method::GET, &url, &[], Vec::new()).await;
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    })
    .await;
    host
}

/// Fills 64 MiB again and again: no single instruction of it can be interrupted.
const BULK: &str = r#"
    (memory 1024)
    (func (export "handle") (param i32 i32)
      (loop $again
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x4000000))
        (br $again)))"#;

/// Memories that one component has: a module has one, so it has as many modules.
const MEMORY_COUNT: usize = 8;

/// Grows eight memories in turn, and dies when one cannot grow.
fn memories() -> Vec<u8> {
    let numbers = || 0..MEMORY_COUNT;
    let owners: String = numbers()
        .map(|n| format!("(core instance $owner{n} (instantiate $owner))\n"))
        .collect();
    let imports: String = numbers()
        .map(|n| format!("(import \"owner{n}\" \"grow\" (func $grow{n} (result i32)))\n"))
        .collect();
    let grown: String = numbers()
        .map(|n| format!("(if (i32.lt_s (call $grow{n}) (i32.const 0)) (then unreachable))\n"))
        .collect();
    let with: String = numbers()
        .map(|n| format!("(with \"owner{n}\" (instance $owner{n}))\n"))
        .collect();
    component_of(&format!(
        r#"(core module $owner
             (memory 1)
             (func (export "grow") (result i32) (memory.grow (i32.const 16))))
           {owners}
           (core module $module
             {imports}
             (func (export "handle") (param i32 i32)
               (loop $again {grown} (br $again))))
           (core instance $core (instantiate $module {with}))"#
    ))
}

/// Grows a table until it cannot.
const TABLES: &str = r#"
    (table $t 1 funcref)
    (func (export "handle") (param i32 i32)
      (loop $again
        (if (i32.lt_s (table.grow $t (ref.null func) (i32.const 1000)) (i32.const 0)) (then unreachable))
        (br $again)))"#;

/// Never starts: its start function does not end.
pub const START: &str = r#"
    (func $start (loop $again (br $again)))
    (start $start)
    (func (export "handle") (param i32 i32))"#;

/// The component of WASI 0.2 whose handler is that of a core module with these fields.
pub fn component(fields: &str) -> Vec<u8> {
    component_of(&format!(
        "(core module $module {fields}) (core instance $core (instantiate $module))"
    ))
}

/// The same, of a core instance `$core` that is made in any way.
fn component_of(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (import "wasi:http/types@0.2.0" (instance $types
            (export "incoming-request" (type (sub resource)))
            (export "response-outparam" (type (sub resource)))))
          (alias export $types "incoming-request" (type $request))
          (alias export $types "response-outparam" (type $out))
          {core}
          (func $handle (param "request" (own $request)) (param "response-out" (own $out))
            (canon lift (core func $core "handle")))
          (instance $handler (export "handle" (func $handle)))
          (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

impl Act {
    /// Asks the host at `gateway` for it once; what the client saw.
    pub async fn once(&self, gateway: &str) -> Result<Answer, String> {
        let url = format!("{gateway}/{}{}", self.window, self.path);
        match self.client {
            Get => try_request(Method::GET, &url, &[], Vec::new()).await,
            Http2 => try_http2(&url).await,
            Upload(mib) => try_request(Method::POST, &url, &[], vec![b'u'; mib << 20]).await,
            Put(bytes) => try_request(Method::PUT, &url, &[], vec![b'v'; bytes]).await,
            Slow => slow(&url).await,
            Meddle(how) => try_request(Method::GET, &url, &[("x-meddle", how)], Vec::new()).await,
        }
    }

    /// MiB by which the host's memory may grow while `at_once` requests do it.
    pub fn most_mib(&self, at_once: usize) -> f64 {
        let small = SMALL.contains(&self.window);
        let memory = if small { SMALL_MIB } else { MEMORY_MIB };
        at_once as f64 * (memory + SLACK_MIB)
    }

    /// Whether the host took no more than that, by the peak since it was begun.
    ///
    /// # Errors
    /// A sentence with what it took.
    pub fn check_memory(&self, peak: &Peak, at_once: usize) -> Result<(), String> {
        let (grown, most) = (peak.grown_mib(), self.most_mib(at_once));
        if grown > most {
            let name = self.name;
            return Err(format!(
                "{name}: the host grew by {grown:.0} MiB, over {most:.0}"
            ));
        }
        Ok(())
    }

    /// Whether that was what it must be.
    ///
    /// # Errors
    /// A sentence with what it was instead.
    pub fn check(&self, seen: &Result<Answer, String>) -> Result<(), String> {
        let answer = match seen {
            Ok(answer) => answer,
            Err(error) => return Err(format!("{}: no answer: {error}", self.name)),
        };
        let status = answer.status.as_u16();
        let saw = match &answer.cut {
            Some(_) if status == 200 => Cut,
            Some(cut) => return Err(format!("{}: {status} and a cut: {cut}", self.name)),
            None => match self.outcome {
                Problem(_, code)
                    if answer.header("content-type") == "application/problem+json"
                        && answer.problem() == code =>
                {
                    Problem(status, code)
                }
                _ => Whole(status),
            },
        };
        if saw != self.outcome {
            let text: String = answer.text().chars().take(300).collect();
            let wished = self.outcome;
            return Err(format!("{}: {saw:?}, not {wished:?}: {text}", self.name));
        }
        if answer.headers.contains_key("x-injected") {
            return Err(format!("{}: it injected a header", self.name));
        }
        Ok(())
    }
}

/// Reads the first byte of an answer and nothing for a time, then what is left of it. A byte now
/// and then would not do: what frees a little room in the kernel's buffers lets a piece move.
async fn slow(url: &str) -> Result<Answer, String> {
    const STANDSTILL: Duration = Duration::from_secs(10);
    let text = |error: std::io::Error| error.to_string();
    let (authority, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("no URL")?;
    let mut stream = TcpStream::connect(authority).await.map_err(text)?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(text)?;
    let mut read = vec![stream.read_u8().await.map_err(text)?];
    tokio::time::sleep(STANDSTILL).await;
    let ended = stream.read_to_end(&mut read).await;
    let head = String::from_utf8_lossy(&read);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    // Of a chunked body the end would be an empty chunk.
    let whole = ended.is_ok() && read.ends_with(b"\r\n0\r\n\r\n");
    Ok(Answer {
        status: status.ok_or("no status")?,
        headers: http::HeaderMap::new(),
        body: Vec::new(),
        cut: (!whole).then(|| format!("{ended:?}")),
    })
}
