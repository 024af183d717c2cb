//! The ratios as bars against their marks, as SVG, on a logarithmic scale.

use crate::table::Row;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 330.0;
const HEIGHT: f64 = 26.0;
const TOP: f64 = 34.0;

pub fn svg(rows: &[Row]) -> String {
    let height = TOP + HEIGHT * rows.len() as f64 + 14.0;
    let most = rows
        .iter()
        .map(|row| row.found.max(row.mark.unwrap_or(row.found)))
        .fold(2.0, f64::max);
    let least = rows
        .iter()
        .map(|row| row.found.min(row.mark.unwrap_or(row.found)))
        .fold(0.5, f64::min);
    let (low, high) = ((least * 0.8).ln(), (most * 1.3).ln());
    let x = |ratio: f64| LEFT + (ratio.ln() - low) / (high - low) * (WIDTH - LEFT - 70.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" fill=\"#333\">times the baseline (logarithmic); the line is the mark</text>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + HEIGHT * index as f64;
        let colour = match (row.mark, row.reached()) {
            (None, _) => "#8a8f98",
            (_, true) => "#2a7f62",
            (_, false) => "#c0504d",
        };
        let label = format!("{}. {} / {}", row.number, row.work, row.baseline);
        let found = row.found.max(1e-3);
        let (start, end, mark) = (x(1.0), x(found), x(row.mark.unwrap_or(found)));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#333\">{}</text>\n\
             <rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#333\">{:.2}</text>\n",
            LEFT - 8.0,
            y + 12.0,
            escape(&shorten(&label)),
            start.min(end),
            y + 1.0,
            (end - start).abs().max(1.0),
            end.max(start).max(mark) + 6.0,
            y + 12.0,
            row.found
        );
        if row.mark.is_some() {
            let _ = writeln!(
                text,
                "<line x1=\"{mark:.1}\" y1=\"{}\" x2=\"{mark:.1}\" y2=\"{}\" stroke=\"#111\" stroke-width=\"2\"/>",
                y - 2.0,
                y + 18.0
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

fn shorten(label: &str) -> String {
    const MOST: usize = 56;
    if label.chars().count() <= MOST {
        return label.into();
    }
    label.chars().take(MOST - 1).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
