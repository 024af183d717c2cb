//! Tables that are sorted by a column: a link in each head, so that a sorted table has an address.

use std::cmp::Ordering;

/// By which column, and which way.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sorting {
    pub(crate) column: String,
    pub(crate) descending: bool,
}

/// The head of a column.
pub(crate) struct Head {
    pub(crate) title: &'static str,
    pub(crate) link: String,
    /// The value of `aria-sort`.
    pub(crate) sorted: &'static str,
    pub(crate) is_number: bool,
}

impl Sorting {
    /// Reads `pays` and `-pays`.
    pub(crate) fn read(text: &str) -> Self {
        let (descending, column) = match text.strip_prefix('-') {
            Some(column) => (true, column),
            None => (false, text),
        };
        Sorting {
            column: column.to_owned(),
            descending,
        }
    }

    /// The head of a column, whose link sorts by it, or the other way round. A number is sorted
    /// from the largest first.
    pub(crate) fn head(
        &self,
        title: &'static str,
        column: &str,
        is_number: bool,
        keep: &str,
    ) -> Head {
        let is_by = self.column == column;
        let descending = if is_by { !self.descending } else { is_number };
        let sign = if descending { "-" } else { "" };
        Head {
            title,
            link: format!("?sort={sign}{column}{keep}"),
            sorted: match (is_by, self.descending) {
                (false, _) => "none",
                (true, true) => "descending",
                (true, false) => "ascending",
            },
            is_number,
        }
    }

    pub(crate) fn apply(&self, order: Ordering) -> Ordering {
        match self.descending {
            true => order.reverse(),
            false => order,
        }
    }
}
