//! Lines of a page against lines that were shown: `…` stands for what varies.

/// Whether `line` is as `pattern` says: each `…` is any text.
pub(super) fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim_end().split('…');
    let Some(mut rest) = parts
        .next()
        .and_then(|first| line.trim_end().strip_prefix(first))
    else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether the lines are those of the pattern, where a line `…` is any number of lines.
pub(super) fn all_fit(pattern: &[String], lines: &[&str]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, others)), _) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| all_fit(others, &lines[skipped..]))
        }
        (Some((first, patterns)), Some((line, lines))) => {
            fits(first, line) && all_fit(patterns, lines)
        }
        _ => false,
    }
}

/// The place behind the lines that fit the pattern one after the other, with others between them.
pub(super) fn behind(pattern: &[String], lines: &[&str]) -> Result<usize, String> {
    let mut at = 0;
    for wanted in pattern.iter().filter(|wanted| wanted.trim() != "…") {
        let found = lines[at..].iter().position(|line| fits(wanted, line));
        at += found.ok_or_else(|| wanted.clone())? + 1;
    }
    Ok(at)
}

#[test]
fn pattern_fits_where_only_its_gaps_vary() {
    assert!(fits("hello", "hello  "));
    assert!(fits("id …, … ms", "id 7, 3, 12 ms"));
    assert!(fits("…hello…", "hello"));
    for (pattern, line) in [("hello", "hello you"), ("a…b…c", "a c"), ("…ab", "abc")] {
        assert!(!fits(pattern, line), "{pattern} {line}");
    }
    let pattern = ["one", "…", "two"].map(str::to_owned);
    assert!(all_fit(&pattern, &["one", "two"]));
    assert!(all_fit(&pattern, &["one", "x", "y", "two"]));
    assert!(!all_fit(&pattern, &["one", "x"]));
    assert!(!all_fit(&pattern[..1], &["one", "x"]));
    let pattern = ["a", "c"].map(str::to_owned);
    assert_eq!(behind(&pattern, &["a", "b", "c", "d"]), Ok(3));
    assert_eq!(behind(&pattern, &["c", "a"]), Err("c".to_owned()));
}
