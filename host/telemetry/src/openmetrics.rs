//! Reading what `/metrics` says: for the exporter, and for the command line.

/// A line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With the ending of its kind, such as `_total`.
    pub name: String,
    /// In the order of the line.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The label of that name.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads `name{label="value",…} number`, and leaves an exemplar aside.
pub fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(name_end)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.push((label.to_owned(), value));
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
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
    fn line_is_read_with_its_labels_and_without_its_exemplar() {
        let line = r#"a_bucket{le="0.1",route="a \"b\", {c}\\"} 3 # {trace_id="x"} 0.07"#;
        let read = sample(line).unwrap();
        assert_eq!((read.name.as_str(), read.value), ("a_bucket", 3.0));
        assert_eq!(read.label("le"), Some("0.1"));
        assert_eq!(read.label("route"), Some(r#"a "b", {c}\"#));
        assert_eq!(sample("b 2").map(|it| it.value), Some(2.0));
        for bad in ["# EOF", "", "a{b", "a{b=\"c", "a x"] {
            assert_eq!(sample(bad), None, "{bad}");
        }
    }
}
