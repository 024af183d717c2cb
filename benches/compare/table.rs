//! The table of all rows, and the plot of their ratios.

use hms_harness::pairs::{Pairs, middle};
use hms_harness::wrk::Figure;
use std::fmt::Write;

/// What one row found.
pub struct Row {
    pub number: &'static str,
    pub work: String,
    pub baseline: String,
    pub ours: String,
    pub theirs: String,
    /// What was to be reached, where anything was, and what was found, as factors: larger is
    /// better.
    pub mark: Option<f64>,
    pub found: f64,
    /// What must hold beside.
    pub also: Option<(String, bool)>,
    pub notes: String,
}

impl Row {
    /// Requests a second of both.
    pub fn of_pairs(
        number: &'static str,
        work: &str,
        baseline: &str,
        mark: Option<f64>,
        pairs: &Pairs,
    ) -> Row {
        Row {
            number,
            work: work.into(),
            baseline: baseline.into(),
            ours: shown(&pairs.ours),
            theirs: shown(&pairs.theirs),
            mark,
            found: pairs.ratio(|figure| figure.per_second),
            also: None,
            notes: format!(
                "generator {:.0} % / {:.0} % of a processor{}",
                middle(&pairs.ours, |figure| figure.generator) * 100.0,
                middle(&pairs.theirs, |figure| figure.generator) * 100.0,
                failures(pairs),
            ),
        }
    }

    pub fn reached(&self) -> bool {
        self.mark.is_none_or(|mark| self.found >= mark)
            && self.also.as_ref().is_none_or(|(_, holds)| *holds)
    }
}

fn failures(pairs: &Pairs) -> String {
    let count = |figures: &[Figure]| figures.iter().map(|figure| figure.failed).sum::<u64>();
    match (count(&pairs.ours), count(&pairs.theirs)) {
        (0, 0) => String::new(),
        (ours, theirs) => format!("; FAILED requests: {ours} / {theirs}"),
    }
}

/// Medians.
pub fn shown(figures: &[Figure]) -> String {
    format!(
        "{:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        middle(figures, |figure| figure.per_second),
        middle(figures, |figure| figure.p50_ms),
        middle(figures, |figure| figure.p99_ms)
    )
}

/// The table in Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| # | work | baseline | ours | theirs | ratio | mark | |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let also = row
            .also
            .as_ref()
            .map(|(what, _)| format!("; {what}"))
            .unwrap_or_default();
        let verdict = match (row.mark, row.reached()) {
            (None, _) => "for comparison",
            (_, true) => "reached",
            (_, false) => "**not reached**",
        };
        let mark = row.mark.map_or("–".into(), |mark| format!("{mark:.2}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.2}{also} | {mark} | {verdict} |",
            row.number, row.work, row.baseline, row.ours, row.theirs, row.found
        );
    }
    for row in rows.iter().filter(|row| !row.notes.is_empty()) {
        let _ = writeln!(text, "\n{}: {}", row.number, row.notes);
    }
    text
}
