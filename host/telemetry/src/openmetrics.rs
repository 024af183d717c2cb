//! Reading what `/metrics` says: for the exporter, and for the command line.

use hms_core::trace::TraceId;

/// A line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With the ending of its kind, such as `_total`.
    pub name: String,
    /// In the order of the line.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
    /// A measurement that fell into this bucket, and its trace.
    pub exemplar: Option<Exemplar>,
}

/// A measurement of a histogram that is told with its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// What was measured.
    pub value: f64,
    /// When, in seconds since 1970.
    pub at: Option<f64>,
}

impl Sample {
    /// The label of that name.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads `name{label="value",…} number`, and the exemplar behind it.
pub fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(name_end)?;
    let (labels, rest) = labels(rest)?;
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, behind)) => (value, self::exemplar(behind)),
        None => (rest, None),
    };
    let value = value.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
        exemplar,
    })
}

/// Labels with their values.
type Labels = Vec<(String, String)>;

/// Reads `{label="value",…}`, which need not be there, and gives what is behind it.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Some((labels, text));
    };
    while !rest.starts_with('}') {
        let (label, behind) = rest.split_once("=\"")?;
        let (value, behind) = quoted(behind)?;
        labels.push((label.to_owned(), value));
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Some((labels, rest.strip_prefix('}')?))
}

/// Reads `{trace_id="…"} number time`.
fn exemplar(text: &str) -> Option<Exemplar> {
    let (labels, rest) = labels(text)?;
    let trace_id = labels.iter().find(|(name, _)| name == "trace_id")?;
    let mut numbers = rest.split_whitespace();
    Some(Exemplar {
        trace_id: TraceId::parse(&trace_id.1)?,
        value: numbers.next()?.parse().ok()?,
        at: numbers.next().and_then(|at| at.parse().ok()),
    })
}

/// The text up to the closing quotation mark, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_read_with_its_labels_and_its_exemplar() {
        let line = r#"a_bucket{le="0.1",route="a \"b\", {c}\\"} 3 # {trace_id="x"} 0.07"#;
        let read = sample(line).unwrap();
        assert_eq!(read.exemplar, None);
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let traced = format!("a_bucket{{le=\"1.0\"}} 3 # {{trace_id=\"{id}\"}} 0.07 9.5");
        let traced = sample(&traced).unwrap();
        let exemplar = Exemplar {
            trace_id: TraceId::parse(id).unwrap(),
            value: 0.07,
            at: Some(9.5),
        };
        assert_eq!((traced.value, traced.exemplar), (3.0, Some(exemplar)));
        assert_eq!((read.name.as_str(), read.value), ("a_bucket", 3.0));
        assert_eq!(read.label("le"), Some("0.1"));
        assert_eq!(read.label("route"), Some(r#"a "b", {c}\"#));
        assert_eq!(sample("b 2").map(|it| it.value), Some(2.0));
        for bad in ["# EOF", "", "a{b", "a{b=\"c", "a x"] {
            assert_eq!(sample(bad), None, "{bad}");
        }
    }
}
