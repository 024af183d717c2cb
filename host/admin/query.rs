//! The parameters of a request to the admin API. An unknown one is refused: a misspelt `canary` must not deploy to everybody.

use crate::windows::ChangeError;
use std::fmt::Display;
use std::str::FromStr;

/// Checked parameters.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string of which only `known` names may be there, each once.
    pub fn read(query: &str, known: &[&str]) -> Result<Self, ChangeError> {
        // A bare percent sign, as in `10%`, is taken as it is.
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(ChangeError::BadOption(format!(
                    "there is no parameter '{}' here; known are {}",
                    name.escape_debug(),
                    known.join(", ")
                )));
            }
            if pairs.iter().take(index).any(|(other, _)| other == name) {
                return Err(ChangeError::BadOption(format!(
                    "the parameter '{name}' is given twice"
                )));
            }
        }
        Ok(Query(pairs))
    }

    /// The parameter of that name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameter of that name, read as a `T`.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ChangeError> {
        let parsed = self.text(name).map(str::parse::<T>).transpose();
        parsed.map_err(|why| ChangeError::BadOption(format!("the parameter '{name}': {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_may_be_written_with_or_without_escaping() {
        for query in ["canary=10%25", "canary=10%"] {
            let query = Query::read(query, &["canary"]).unwrap();
            assert_eq!(
                query
                    .parsed::<crate::windows::Share>("canary")
                    .unwrap()
                    .unwrap()
                    .to_string(),
                "10%"
            );
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
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
                .contains("twice")
        );
        assert!(
            Query::read("to=x", &["to"])
                .unwrap()
                .parsed::<u64>("to")
                .is_err()
        );
    }
}
