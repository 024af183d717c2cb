//! Columns of a template, such as those of comments, stay in line whatever the name is.

/// Spaces between two columns, at the least.
const GAP: usize = 2;

/// `text` with `fill` done to each line. Where a column of a line follows a placeholder, and lines
/// above or below have text in the same column, all of them move as far as the longest needs.
pub(super) fn filled(text: &str, fill: impl Fn(&str) -> String) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    // Of each line, the column that follows its placeholder.
    let own: Vec<Option<usize>> = lines.iter().map(|line| column(line)).collect();
    let mut made = Vec::with_capacity(lines.len());
    let mut rest = lines.as_slice();
    while let Some((line, others)) = rest.split_first() {
        let at = lines.len() - rest.len();
        // The column of this line, or of a line below that this one is in line with.
        let below = own.iter().skip(at).zip(rest);
        let wanted = below.map_while(|(own, line)| {
            let is_blank = line.trim().is_empty();
            (!is_blank).then_some(*own)
        });
        let Some(column) = wanted
            .flatten()
            .next()
            .filter(|it| stops(line).contains(it))
        else {
            made.push(fill(line));
            rest = others;
            continue;
        };
        let group = rest.iter().take_while(|line| stops(line).contains(&column));
        let parts: Vec<(String, String)> = group
            .filter_map(|line| line.split_at_checked(column))
            .map(|(left, right)| (fill(left.trim_end()), fill(right)))
            .collect();
        let widths = parts.iter().map(|(left, _)| left.chars().count() + GAP);
        let width = widths.max().unwrap_or_default().max(column);
        made.extend(
            parts
                .iter()
                .map(|(left, right)| format!("{left:<width$}{right}")),
        );
        rest = rest.get(parts.len().max(1)..).unwrap_or_default();
    }
    made.join("\n")
}

/// The column that follows the first placeholder of a line.
fn column(line: &str) -> Option<usize> {
    let placeholder = line.find("{{")?;
    stops(line).into_iter().find(|stop| *stop > placeholder)
}

/// Where text begins after a gap, but for the indentation: places in bytes. None after a character
/// of several bytes, whose width is not known.
fn stops(line: &str) -> Vec<usize> {
    let ascii = line.bytes().take_while(u8::is_ascii).count();
    let bytes = line.as_bytes();
    let is_stop = |at: &usize| {
        let before = bytes.get(..*at).unwrap_or_default();
        before.ends_with(&[b' '; GAP])
            && bytes.get(*at) != Some(&b' ')
            && !before.trim_ascii().is_empty()
    };
    (0..ascii.min(bytes.len())).filter(is_stop).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# {{name}}
//     POST /{{name}}        {\"a\"}  ->  201, and {{name}}.v1
//     GET  /{{name}}/sum    {\"sum\"}
//     POST /events          a delivery

    hms up          # without a name
    curl /{{name}}

    cp a/{{name}}.yaml A   # one
    cp b                   # two
";

    #[test]
    fn columns_stay_in_line_for_a_name_of_any_length() {
        let long = "a-name-that-is-longer-than-most";
        for name in ["a", "eight888", long] {
            let text = filled(TEXT, |text| text.replace("{{name}}", name));
            let lines: Vec<&str> = text.lines().collect();
            let place = |line: usize, what: &str| lines[line].find(what).unwrap();
            assert_eq!(place(1, "{\"a\"}"), place(2, "{\"sum\"}"), "{text}");
            assert_eq!(place(1, "{\"a\"}"), place(3, "a delivery"), "{text}");
            assert_eq!(place(8, "# one"), place(9, "# two"), "{text}");
            assert_eq!(lines[5], "    hms up          # without a name");
            assert!(text.contains("  # one"), "{text}");
        }
        let same = filled(TEXT, |text| text.replace("{{name}}", "eight888"));
        assert_eq!(same, TEXT.replace("{{name}}", "eight888"));
    }
}
