//! The variables of OpenTelemetry, by their standard names and meanings.

use super::proto::KeyValue;
use crate::trace::Sampler;
use http::{HeaderName, HeaderValue, Uri};
use std::str::FromStr;
use std::time::Duration;

/// What the collector is told this is, if nothing else is set.
const SERVICE: &str = "hms";

/// Records or lines of the log that wait, those of one request to the collector, how long the first
/// of them waits, and how long the collector may take: with the defaults of the specification but
/// for the queue, which is longer, because both come in bursts. 4,096 records of 4 KiB are 16 MiB,
/// and so are as many lines of that length. Where guests tell of their own spans a record may have
/// 20 KiB more.
const QUEUE: usize = 4096;
const BATCH: usize = 512;
const RECORDS_DELAY: Duration = Duration::from_secs(5);
const LINES_DELAY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often metrics are sent: the default of the specification.
const METRICS_INTERVAL: Duration = Duration::from_secs(60);

/// What is exported, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpSettings {
    /// Where traces go; none: nowhere.
    pub traces: Option<Uri>,
    /// Where metrics go; none: nowhere.
    pub metrics: Option<Uri>,
    /// Where the log goes; none: nowhere but to stderr.
    pub logs: Option<Uri>,
    /// Fields of every request, such as a vendor's key.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether bodies are compressed by gzip.
    pub gzip: bool,
    /// For one request.
    pub timeout: Duration,
    /// What this host is.
    pub resource: Vec<KeyValue>,
    /// Which traces are exported, beside failed and slow ones.
    pub sampler: Sampler,
    /// How records of traces are gathered.
    pub records: Gathering,
    /// How lines of the log are.
    pub lines: Gathering,
    /// How often metrics are sent.
    pub metrics_interval: Duration,
}

/// How what is exported is gathered for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathering {
    /// Those that wait at most.
    pub queue: usize,
    /// Those of one request at most.
    pub batch: usize,
    /// How long the first of them waits for others.
    pub delay: Duration,
}

impl OtlpSettings {
    /// From the environment. None where no endpoint is set, or all is switched off.
    ///
    /// # Errors
    /// A sentence that names the variable that cannot be used.
    pub fn from_environment() -> Result<Option<Self>, String> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// From variables that `get` knows by their names. One that is empty is not set.
    ///
    /// # Errors
    /// As [`OtlpSettings::from_environment`].
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let get = |name: &str| {
            let value = get(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let traces = endpoint(&get, "TRACES", "v1/traces")?;
        let metrics = endpoint(&get, "METRICS", "v1/metrics")?;
        let logs = endpoint(&get, "LOGS", "v1/logs")?;
        if traces.is_none() && metrics.is_none() && logs.is_none() {
            return Ok(None);
        }
        for name in [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        ] {
            if let Some(other) = get(name).filter(|value| value != "http/protobuf") {
                return Err(format!(
                    "{name}='{other}': the host exports by http/protobuf only, which collectors take on \
                     port 4318"
                ));
            }
        }
        let gzip = match get("OTEL_EXPORTER_OTLP_COMPRESSION").as_deref() {
            None | Some("none") => false,
            Some("gzip") => true,
            Some(other) => {
                return Err(format!(
                    "OTEL_EXPORTER_OTLP_COMPRESSION='{other}': use gzip or none"
                ));
            }
        };
        let sampler = get("OTEL_TRACES_SAMPLER");
        let sampler = sampler.as_deref().unwrap_or("parentbased_always_on");
        let argument = get("OTEL_TRACES_SAMPLER_ARG");
        Ok(Some(OtlpSettings {
            traces,
            metrics,
            logs,
            headers: headers(&get)?,
            gzip,
            timeout: millis(&get, "OTEL_EXPORTER_OTLP_TIMEOUT", TIMEOUT)?,
            resource: resource(&get)?,
            sampler: Sampler::new(sampler, argument.as_deref())?,
            records: gathering(&get, "OTEL_BSP", RECORDS_DELAY)?,
            lines: gathering(&get, "OTEL_BLRP", LINES_DELAY)?,
            metrics_interval: millis(&get, "OTEL_METRIC_EXPORT_INTERVAL", METRICS_INTERVAL)?,
        }))
    }
}

/// Where a signal goes: its own variable as it stands, or its path below that of all.
fn endpoint(
    get: &impl Fn(&str) -> Option<String>,
    signal: &str,
    path: &str,
) -> Result<Option<Uri>, String> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match get(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => return Err(format!("{exporter}='{other}': use otlp or none")),
    }
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (name, value) = match (get(&own), get(all)) {
        (Some(value), _) => (own.as_str(), value),
        (None, Some(value)) => (all, format!("{}/{path}", value.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let uri = Uri::from_str(&value).ok().filter(|uri| {
        let scheme = uri.scheme_str();
        scheme.is_some_and(|it| ["http", "https"].contains(&it)) && uri.host().is_some()
    });
    let uri = uri.ok_or_else(|| {
        // What is before an @ may be a password.
        let shown = match value.contains('@') {
            true => String::new(),
            false => format!(": '{value}'"),
        };
        format!("{name} is not an http or https URL, such as http://127.0.0.1:4318{shown}")
    })?;
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(format!(
            "{name} contains a user or a password: move it to OTEL_EXPORTER_OTLP_HEADERS"
        ));
    }
    Ok(Some(uri))
}

/// `name=value,name=value`, with values in percent-encoding. Values may be secret: no message has
/// them.
fn headers(
    get: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let variable = "OTEL_EXPORTER_OTLP_HEADERS";
    pairs(get, variable)?
        .into_iter()
        .enumerate()
        .map(|(index, (name, value))| {
            // Not what it is: who writes `name: value` has the value in it.
            let header = HeaderName::from_str(&name).map_err(|_| {
                let entry = index + 1;
                format!("{variable}: entry {entry} has no header field name before its =")
            })?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                format!("{variable}: the value of '{name}' is not valid in a header field")
            })?;
            value.set_sensitive(true);
            Ok((header, value))
        })
        .collect()
}

fn resource(get: &impl Fn(&str) -> Option<String>) -> Result<Vec<KeyValue>, String> {
    let mut pairs = pairs(get, "OTEL_RESOURCE_ATTRIBUTES")?;
    if let Some(service) = get("OTEL_SERVICE_NAME") {
        pairs.retain(|(name, _)| name != "service.name");
        pairs.push(("service.name".into(), service));
    }
    let mut set = |name: &str, value: &str| {
        if pairs.iter().all(|(other, _)| other != name) {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    };
    set("service.name", SERVICE);
    set("service.version", env!("CARGO_PKG_VERSION"));
    let instance = uuid::Uuid::new_v4().to_string();
    set("service.instance.id", &instance);
    set("telemetry.sdk.name", "hms");
    set("telemetry.sdk.language", "rust");
    set("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    let attributes = pairs
        .iter()
        .map(|(name, value)| KeyValue::text(name, value));
    Ok(attributes.collect())
}

fn pairs(
    get: &impl Fn(&str) -> Option<String>,
    variable: &str,
) -> Result<Vec<(String, String)>, String> {
    let text = get(variable).unwrap_or_default();
    let entries = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    entries
        .enumerate()
        .map(|(index, entry)| {
            let pair = entry
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty());
            let (name, value) =
                pair.ok_or_else(|| format!("{variable}: entry {} is not name=value", index + 1))?;
            let value = decoded(value.trim())
                .ok_or_else(|| format!("{variable}: entry {} has a broken %", index + 1))?;
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}

/// Undoes percent-encoding. A plus stays one.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

/// By the variables that begin with `prefix`.
fn gathering(
    get: &impl Fn(&str) -> Option<String>,
    prefix: &str,
    delay: Duration,
) -> Result<Gathering, String> {
    let of = |name: &str| format!("{prefix}_{name}");
    Ok(Gathering {
        queue: count(get, &of("MAX_QUEUE_SIZE"), QUEUE)?,
        batch: count(get, &of("MAX_EXPORT_BATCH_SIZE"), BATCH)?,
        delay: millis(get, &of("SCHEDULE_DELAY"), delay)?,
    })
}

fn millis(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    usual: Duration,
) -> Result<Duration, String> {
    let Some(text) = get(name) else {
        return Ok(usual);
    };
    let millis = text.parse::<u64>().ok().filter(|millis| *millis > 0);
    let millis = millis.ok_or_else(|| {
        format!(
            "{name}='{text}' is not a time in milliseconds: use a whole number greater than zero"
        )
    })?;
    Ok(Duration::from_millis(millis))
}

fn count(get: &impl Fn(&str) -> Option<String>, name: &str, usual: usize) -> Result<usize, String> {
    let Some(text) = get(name) else {
        return Ok(usual);
    };
    let count = text.parse::<usize>().ok();
    count
        .filter(|count| (1..=1 << 20).contains(count))
        .ok_or_else(|| format!("{name}='{text}': use a whole number from 1 to 1048576"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Option<OtlpSettings>, String> {
        OtlpSettings::read(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    #[test]
    fn export_is_off_without_an_endpoint_or_where_it_is_switched_off() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap(), None);
        assert_eq!(read(&[HERE, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap(), None);
        let none = [
            HERE,
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ];
        assert_eq!(read(&none).unwrap(), None);
    }

    #[test]
    fn signals_go_below_the_endpoint_or_to_their_own() {
        let settings = read(&[
            HERE,
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "https://vendor.example/in?x=1",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=a%20b%3D, x-tenant = t ",
            ),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=ignored,env=prod"),
            ("OTEL_SERVICE_NAME", "front"),
        ]);
        let settings = settings.unwrap().unwrap();
        let traces = settings.traces.unwrap().to_string();
        assert_eq!(traces, "http://127.0.0.1:4318/v1/traces");
        let logs = settings.logs.unwrap().to_string();
        assert_eq!(logs, "http://127.0.0.1:4318/v1/logs");
        let metrics = settings.metrics.unwrap().to_string();
        assert_eq!(metrics, "https://vendor.example/in?x=1");
        assert_eq!(settings.headers[0].1, "a b=");
        assert_eq!(settings.headers[1].1, "t");
        let is_there = |name: &str, value: &str| {
            let wanted = KeyValue::text(name, value);
            settings.resource.contains(&wanted)
        };
        assert!(is_there("service.name", "front") && is_there("env", "prod"));
        assert!(!is_there("service.name", "ignored"));
    }

    #[test]
    fn bad_value_is_refused_by_the_name_of_its_variable_and_no_secret_is_said() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:pw@host"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "me:pw@host:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key: s3cret=="),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api key=s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%0a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%f"),
            ("OTEL_TRACES_SAMPLER", "often"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "1s"),
            ("OTEL_LOGS_EXPORTER", "console"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ] {
            let set: Vec<_> = [(name, value)].into_iter().chain([HERE]).collect();
            let why = read(&set).unwrap_err();
            assert!(why.contains(name), "{name}: {why}");
            assert!(!why.contains("s3cret") && !why.contains("pw"), "{why}");
        }
    }
}
