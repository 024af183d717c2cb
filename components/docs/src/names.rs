//! What a client called a file, made safe to be kept, shown and sent as a header. Needs nothing, so
//! that it can be fuzzed on its own.

/// The longest file name, in bytes: what file systems take, so that the file can be saved under it.
const NAME_MAX_BYTES: usize = 255;

/// The longest content type, in bytes. Real ones are under 100.
const CONTENT_TYPE_MAX_BYTES: usize = 255;

/// The file name that a client sent, without its folders and without what is not seen but has an
/// effect; or what is wrong with it.
pub fn clean_name(sent: Option<&str>) -> Result<String, String> {
    let sent = sent.ok_or("the part 'file' has no file name")?;
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last
        .chars()
        .filter(|c| !c.is_control() && !turns_text(*c))
        .collect();
    match name.trim() {
        "" | "." | ".." => Err("the part 'file' has an empty file name".into()),
        name if name.len() > NAME_MAX_BYTES => Err(format!(
            "the file name is longer than {NAME_MAX_BYTES} bytes"
        )),
        name => Ok(name.to_owned()),
    }
}

/// Marks that turn the direction of text, by which `exe.jpg` can be made of `gpj.exe`.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The content type that a client sent, if it can stand in a header.
pub fn clean_content_type(sent: Option<&str>) -> String {
    let fits = |sent: &&str| {
        sent.len() <= CONTENT_TYPE_MAX_BYTES
            && sent.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7e))
    };
    sent.filter(fits)
        .unwrap_or("application/octet-stream")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_name_has_no_folders_or_invisible_characters() {
        let clean = |sent| clean_name(Some(sent));
        assert_eq!(clean("C:\\photos\\me.jpg"), Ok("me.jpg".into()));
        assert_eq!(clean("../../etc/passwd"), Ok("passwd".into()));
        assert_eq!(
            clean(" a\r\nb\u{202e}gpj\u{61c}.exe "),
            Ok("abgpj.exe".into())
        );
    }

    #[test]
    fn unusable_name_is_rejected_with_a_reason() {
        assert!(clean_name(None).is_err_and(|why| why.contains("no file name")));
        for empty in ["", "..", "photos/", " \u{202e}"] {
            assert!(
                clean_name(Some(empty)).is_err_and(|why| why.contains("empty")),
                "{empty:?}"
            );
        }
        assert!(clean_name(Some(&"é".repeat(127))).is_ok());
        assert!(clean_name(Some(&"é".repeat(128))).is_err_and(|why| why.contains("255")));
    }

    #[test]
    fn invalid_content_type_falls_back_to_octet_stream() {
        assert_eq!(clean_content_type(Some("image/jpeg")), "image/jpeg");
        for wrong in [
            None,
            Some("a/b\r\nx: y"),
            Some("text/ü"),
            Some(&*"x".repeat(256)),
        ] {
            assert_eq!(clean_content_type(wrong), "application/octet-stream");
        }
    }
}
