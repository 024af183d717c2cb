//! Where in a text a field is.

/// The line of a top-level field, or 1.
pub fn line_of(text: &str, field: &str) -> usize {
    let is_field = |line: &str| {
        line.strip_prefix(field)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().position(is_field).map_or(1, |index| index + 1)
}
