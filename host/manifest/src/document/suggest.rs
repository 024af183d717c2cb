//! "did you mean": the known name nearest to one that was mistyped.

/// Names longer than this are not compared.
const MAX_NAME: usize = 32;

/// The nearest of `known`, if it is near enough: at most a third of its letters differ. A name of
/// another case or with `_` for `-` is always near.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let folded = name.to_ascii_lowercase().replace('_', "-");
    known
        .iter()
        .map(|candidate| {
            (
                distance(&folded, &candidate.to_ascii_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != y))
                .min(*cell + 1)
                .min(left + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("uri", "url", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn typo_finds_its_name_and_an_unrelated_word_none() {
        let known = ["uri", "upstream", "plugins", "strip-prefix"];
        assert_eq!(nearest("plugin", &known), Some("plugins"));
        assert_eq!(nearest("strip_prefix", &known), Some("strip-prefix"));
        assert_eq!(nearest("Upstraem", &known), Some("upstream"));
        assert_eq!(nearest("colour", &known), None);
    }
}
