//! The parameters of a request to the admin API. An unknown one is refused: a misspelt `canary`
//! must not deploy to everybody.

use hms_core::trace::TraceId;
use hms_windows::{ChangeError, Consent, TrafficShare};

/// Checked parameters.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query string that may have only `known` names, each once.
    pub(crate) fn read(query: &str, known: &[&str]) -> Result<Self, ChangeError> {
        // A bare percent sign, as in `10%`, is taken as it is.
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(ChangeError::BadOption(format!(
                    "unknown parameter '{}'; known: {}",
                    name.escape_debug(),
                    known.join(", ")
                )));
            }
            if pairs.iter().take(index).any(|(other, _)| other == name) {
                return Err(ChangeError::BadOption(format!(
                    "the parameter '{name}' is repeated"
                )));
            }
        }
        Ok(Query(pairs))
    }

    /// The parameter with this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameter with this name, parsed as a `T`.
    pub(crate) fn parsed<T: Parameter>(&self, name: &str) -> Result<Option<T>, ChangeError> {
        let parsed = self.text(name).map(T::read).transpose();
        parsed.map_err(|why| ChangeError::BadOption(format!("the parameter '{name}': {why}")))
    }
}

/// What a parameter can be.
pub(super) trait Parameter: Sized {
    /// # Errors
    /// A sentence with what was expected.
    fn read(text: &str) -> Result<Self, String>;
}

impl Parameter for u64 {
    fn read(text: &str) -> Result<Self, String> {
        let number = text.parse();
        number.map_err(|_| format!("'{}' is not a whole number such as 3", text.escape_debug()))
    }
}

impl Parameter for bool {
    fn read(text: &str) -> Result<Self, String> {
        let flag = text.parse();
        flag.map_err(|_| format!("'{}' is neither true nor false", text.escape_debug()))
    }
}

impl Parameter for Consent {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl Parameter for TraceId {
    fn read(text: &str) -> Result<Self, String> {
        let id = TraceId::parse(text);
        id.ok_or_else(|| {
            format!(
                "'{}' is not a trace id: use 32 lower-case hexadecimal digits",
                text.escape_debug()
            )
        })
    }
}

impl Parameter for TrafficShare {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_read_with_or_without_escaping() {
        for query in ["canary=10%25", "canary=10%"] {
            let query = Query::read(query, &["canary"]).unwrap();
            assert_eq!(
                query
                    .parsed::<hms_windows::TrafficShare>("canary")
                    .unwrap()
                    .unwrap()
                    .to_string(),
                "10%"
            );
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_rejected() {
        assert!(
            Query::read("canray=10", &["canary"])
                .unwrap_err()
                .to_string()
                .contains("canray")
        );
        assert!(
            Query::read("to=1&to=2", &["to"])
                .unwrap_err()
                .to_string()
                .contains("repeated")
        );
    }

    #[test]
    fn parameter_of_the_wrong_type_is_rejected_with_what_is_expected() {
        let query = Query::read("to=x&yes=1&trace=4BF", &["to", "yes", "trace"]).unwrap();
        let to = query.parsed::<u64>("to").unwrap_err().to_string();
        assert!(to.ends_with("the parameter 'to': 'x' is not a whole number such as 3"));
        let yes = query.parsed::<bool>("yes").unwrap_err().to_string();
        assert!(yes.ends_with("the parameter 'yes': '1' is neither true nor false"));
        let trace = query.parsed::<TraceId>("trace").unwrap_err().to_string();
        assert!(trace.contains("the parameter 'trace': '4BF' is not a trace id"));
    }
}
