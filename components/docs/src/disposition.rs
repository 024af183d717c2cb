//! The `Content-Disposition` of a part of a form (RFC 7578, section 4.2), as clients write it.
//! Needs nothing, so that it can be fuzzed on its own.
//!
//! What is to be read as what, the first that is there:
//!
//! - `filename*=UTF-8''%C5%BC` (RFC 8187): RFC 7578 has no use for it, and .NET sends it.
//! - `filename="=?utf-8?B?xbw=?="`: encoded words of mail (RFC 2047), by .NET and by what came from
//!   mail.
//! - `filename="a%22b"`: browsers and curl write `"`, CR and LF so, and nothing else; not even `%`,
//!   so that a file that is really called `a%22b` cannot be told from `a"b`.
//! - `filename="a\"b"`: older clients. A backslash before anything else is one, as in
//!   `C:\photos\me.jpg`.

/// What a part says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    /// Of the field of the form.
    pub name: Option<String>,
    /// Of the file, as it is called at the client: with folders, and with whatever characters.
    pub file_name: Option<String>,
}

/// Reads the field, or says what is wrong with it.
pub fn parse(field: &[u8]) -> Result<Disposition, String> {
    let (mut name, mut plain, mut extended) = (None, None, None);
    let mut rest = after_value(field, false)?.1;
    while let [_semicolon, parameter @ ..] = rest {
        let end = parameter
            .iter()
            .position(|byte| matches!(byte, b'=' | b';'))
            .unwrap_or(parameter.len());
        let (key, after) = parameter.split_at(end);
        let [b'=', value @ ..] = after else {
            // A word without a value says nothing.
            rest = after;
            continue;
        };
        let (value, after) = after_value(value.trim_ascii_start(), true)?;
        rest = after;
        let slot = match key.trim_ascii().to_ascii_lowercase().as_slice() {
            b"name" => &mut name,
            b"filename" => &mut plain,
            b"filename*" => &mut extended,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err("a name in a part of the form appears twice".into());
        }
    }
    Ok(Disposition {
        name: name.map(|name| text(name, "the name")).transpose()?,
        file_name: file_name(plain, extended)?,
    })
}

fn file_name(plain: Option<Vec<u8>>, extended: Option<Vec<u8>>) -> Result<Option<String>, String> {
    match (extended.as_deref().map(extended_value), plain) {
        (Some(Some(name)), _) => Ok(Some(name)),
        (_, Some(plain)) => {
            let plain = text(plain, "the file name")?;
            Ok(Some(
                encoded_words(&plain).unwrap_or_else(|| unescaped(&plain)),
            ))
        }
        (Some(None), None) => Err(
            "the 'filename*' of a part of the form is malformed: use UTF-8'' and the \
             percent-encoded name"
                .into(),
        ),
        (None, None) => Ok(None),
    }
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("{what} of a part of the form is not UTF-8"))
}

/// The value at the start of `text`, and the rest from the next semicolon on. In a value of a
/// parameter, quotes and the backslashes before `"` and `\` are taken off.
fn after_value(text: &[u8], unquote: bool) -> Result<(Vec<u8>, &[u8]), String> {
    let (mut value, mut quoted) = (Vec::new(), false);
    let mut rest = text;
    loop {
        rest = match (quoted, rest) {
            (true, []) => return Err("a name in a part of the form has no closing quote".into()),
            (true, [b'\\', escaped @ (b'"' | b'\\'), after @ ..]) => {
                value.push(*escaped);
                after
            }
            (_, [b'"', after @ ..]) if quoted || (unquote && value.is_empty()) => {
                quoted = !quoted;
                if !quoted {
                    // What stands between the closing quote and the semicolon says nothing.
                    let end = after.iter().position(|byte| *byte == b';');
                    let end = end.unwrap_or(after.len());
                    return Ok((value, after.get(end..).unwrap_or_default()));
                }
                after
            }
            (false, [] | [b';', ..]) => {
                let trimmed = value.trim_ascii_end().len();
                value.truncate(trimmed);
                return Ok((value, rest));
            }
            (_, [byte, after @ ..]) => {
                value.push(*byte);
                after
            }
        };
    }
}

/// `%22`, `%0D` and `%0A`, as browsers write them.
fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let (code, after) = from.split_at_checked(3).unwrap_or((from, ""));
        match code {
            "%22" => plain.push('"'),
            "%0D" | "%0d" => plain.push('\r'),
            "%0A" | "%0a" => plain.push('\n'),
            _ => {
                plain.push('%');
                rest = from.get(1..).unwrap_or_default();
                continue;
            }
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// `CHARSET'LANGUAGE'VALUE` of RFC 8187; nothing where it is not that.
fn extended_value(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (charset, rest) = text.split_once('\'')?;
    let (_language, value) = rest.split_once('\'')?;
    decoded(charset, hex_escaped(value, b'%', false)?)
}

/// A name that is made of encoded words alone (RFC 2047, section 2); nothing where one is none.
fn encoded_words(name: &str) -> Option<String> {
    let mut whole = String::new();
    // Some cut within a character: what is next to each other in one character set is read as one.
    let mut open: Option<(&str, Vec<u8>)> = None;
    for word in name.split_ascii_whitespace() {
        let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.split('?');
        let mut next = || parts.next();
        let (charset, encoding, text) = (next()?, next()?, next()?);
        // RFC 2231 lets a language follow.
        let charset = charset
            .split_once('*')
            .map_or(charset, |(charset, _)| charset);
        let bytes = match encoding {
            "B" | "b" => base64(text)?,
            "Q" | "q" => hex_escaped(text, b'=', true)?,
            _ => return None,
        };
        if next().is_some() {
            return None;
        }
        match &mut open {
            Some((same, all)) if same.eq_ignore_ascii_case(charset) => all.extend(bytes),
            _ => {
                if let Some((charset, bytes)) = open.replace((charset, bytes)) {
                    whole.push_str(&decoded(charset, bytes)?);
                }
            }
        }
    }
    let (charset, bytes) = open?;
    whole.push_str(&decoded(charset, bytes)?);
    Some(whole)
}

fn decoded(charset: &str, bytes: Vec<u8>) -> Option<String> {
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok(),
        // Its bytes are the first 256 characters.
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// Bytes that stand for themselves, or as two hexadecimal digits after `mark`.
fn hex_escaped(text: &str, mark: u8, underscore_is_space: bool) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [first, high, low, after @ ..] if *first == mark => {
                let byte = digit(*high)? * 16 + digit(*low)?;
                bytes.push(u8::try_from(byte).ok()?);
                after
            }
            [first, ..] if *first == mark => return None,
            [b'_', after @ ..] if underscore_is_space => {
                bytes.push(b' ');
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
    }
}

/// The standard alphabet, with or without its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let six = match group.get(at) {
                Some(byte @ b'A'..=b'Z') => byte - b'A',
                Some(byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                Some(_) => return None,
                None => 0,
            };
            bits = bits << 6 | u32::from(six);
        }
        let [_, three @ ..] = bits.to_be_bytes();
        match group.len() {
            1 => return None,
            digits => bytes.extend(three.into_iter().take(digits - 1)),
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "disposition_tests.rs"]
mod tests;
