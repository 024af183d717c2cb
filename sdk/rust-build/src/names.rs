//! Which names have a hash of the content: those files never change.

/// Whether the name says what the content is, as bundlers name what they make: `app-BfD3kz9x.js` of
/// Vite, `main.3f2a9c1b.css` of webpack. In doubt it does not, and the file is asked for again.
pub(super) fn is_hashed(name: &str) -> bool {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    let Some((stem, end)) = file.rsplit_once('.') else {
        return false;
    };
    // A page has a name that people know.
    if matches!(end, "html" | "htm") {
        return false;
    }
    // A source map is app-BfD3kz9x.js.map.
    let stem = match end {
        "map" => stem.rsplit_once('.').map_or(stem, |(stem, _)| stem),
        _ => stem,
    };
    let by_dot = stem.rsplit_once('.').map(|(_, hash)| hash);
    // What Vite makes may have a hyphen itself: its last 8 characters.
    let length = stem.chars().count();
    let by_hyphen = stem.char_indices().rev().nth(7).and_then(|(at, _)| {
        let (before, hash) = stem.split_at_checked(at)?;
        (length > 9 && before.ends_with('-')).then_some(hash)
    });
    let last = stem.rsplit_once('-').map(|(_, hash)| hash);
    by_dot.is_some_and(|hash| is_hex(hash) || is_mixed(hash))
        || by_hyphen.is_some_and(is_mixed)
        || last.is_some_and(is_hex)
}

/// 8 or more hexadecimal digits, of which some are letters and some are not: no date, no word.
fn is_hex(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit();
    let letter = |byte: u8| (b'a'..=b'f').contains(&byte);
    text.len() >= 8
        && text.bytes().all(|byte| digit(byte) || letter(byte))
        && text.bytes().any(digit)
        && text.bytes().any(letter)
}

/// 8 characters of base64url with a digit, and capital and small letters: no word.
fn is_mixed(text: &str) -> bool {
    let any = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() == 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_uppercase)
        && any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::is_hashed;

    #[test]
    fn names_of_bundlers_are_hashed_and_names_of_people_are_not() {
        for name in [
            "assets/index-BfD3kz9x.js",
            "index-Bf-3kz9x.js",
            "index-BfD3kz9x.js.map",
            "main.3f2a9c1b.css",
            "chunk-3f2a9c1b7d.js",
            "logo.3f2a9c1b.svg",
        ] {
            assert!(is_hashed(name), "{name}");
        }
        for name in [
            "index.html",
            "page-BfD3kz9x.html",
            "report-20260101.pdf",
            "report.20260101.pdf",
            "my-holidays.jpg",
            "jquery-3.7.1.js",
            "app.js",
            "deadbeef.js",
            "background-picture.png",
            "LICENSE",
            "-BfD3kz9x",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }
}
