//! Names as clients send them, and a round trip through each of their forms.

use super::*;
use crate::names::clean_name;
use proptest::prelude::*;

fn called(parameters: &str) -> Result<Option<String>, String> {
    let field = format!("form-data; name=\"file\"; {parameters}");
    let disposition = parse(field.as_bytes())?;
    assert_eq!(disposition.name.as_deref(), Some("file"), "{field}");
    Ok(disposition.file_name)
}

#[test]
fn file_name_is_read_in_every_form() {
    for (parameters, name) in [
        ("filename=\"żółw ł.jpg\"", "żółw ł.jpg"),
        ("filename=plain.jpg", "plain.jpg"),
        ("filename=two words.jpg ; x=y", "two words.jpg"),
        ("filename = \"a.jpg\"", "a.jpg"),
        ("FileName=\"a.jpg\"", "a.jpg"),
        ("filename=\"a;b=c; name=x.jpg\"", "a;b=c; name=x.jpg"),
        ("filename=\"a\\\"b.jpg\"", "a\"b.jpg"),
        ("filename=\"a\\\\b.jpg\"", "a\\b.jpg"),
        ("filename=\"C:\\photos\\me.jpg\"", "C:\\photos\\me.jpg"),
        ("filename=\"a%22b%0d%0Ac%2Fd%\"", "a\"b\r\nc%2Fd%"),
        ("filename=\"a%2\"", "a%2"),
        ("filename=\"%ż%22\"", "%ż\""),
        ("filename=\"\"", ""),
        // RFC 8187, and its precedence.
        ("filename*=UTF-8''%C5%BC%C3%B3%C5%82w.jpg", "żółw.jpg"),
        ("filename*=utf-8'pl'%c5%bc.jpg; filename=\"z.jpg\"", "ż.jpg"),
        ("filename=\"z.jpg\"; filename*=UTF-8''a%20b%22", "a b\""),
        ("filename*=iso-8859-1''caf%E9", "café"),
        ("filename*=\"UTF-8''a%25b\"", "a%b"),
        // One that cannot be read leaves the other.
        ("filename=\"z.jpg\"; filename*=UTF-8''%FF", "z.jpg"),
        ("filename=\"z.jpg\"; filename*=koi8-r''%C5", "z.jpg"),
        ("filename=\"z.jpg\"; filename*=UTF-8''%C", "z.jpg"),
        ("filename=\"z.jpg\"; filename*=%C5%BC", "z.jpg"),
        // RFC 2047.
        ("filename=\"=?utf-8?B?xbzDs8WCdy5qcGc=?=\"", "żółw.jpg"),
        ("filename==?UTF-8?b?xbzDs8WCdy5qcGc?=", "żółw.jpg"),
        ("filename=\"=?utf-8?Q?=C5=BC_a=22.jpg?=\"", "ż a\".jpg"),
        ("filename=\"=?iso-8859-1*fr?q?caf=e9?=\"", "café"),
        ("filename=\"=?utf-8?Q?a=C5?= =?UTF-8?Q?=BCb?=\"", "ażb"),
        ("filename=\"=?utf-8?B?YQ==?= \t=?iso-8859-1?Q?=E9?=\"", "aé"),
        // What is none of these is a name.
        ("filename=\"=?utf-8?B?x?=\"", "=?utf-8?B?x?="),
        ("filename=\"=?utf-8?B?/w==?=\"", "=?utf-8?B?/w==?="),
        ("filename=\"=?koi8-r?Q?=C5?=\"", "=?koi8-r?Q?=C5?="),
        ("filename=\"=?utf-8?X?a?=\"", "=?utf-8?X?a?="),
        ("filename=\"=?utf-8?Q?a?b?=\"", "=?utf-8?Q?a?b?="),
        ("filename=\"=?utf-8?Q?a?= b.jpg\"", "=?utf-8?Q?a?= b.jpg"),
        ("filename=\"=?=\"", "=?="),
        // No continuations (RFC 8187, section 3.1), and nothing else.
        ("filename*0=\"a\"; filename=\"b\"", "b"),
        ("filename; filename=\"b\"", "b"),
        ("x=\"filename=a\"; filename=\"b\" junk; ;;", "b"),
    ] {
        assert_eq!(called(parameters), Ok(Some(name.into())), "{parameters}");
    }
    for parameters in ["", "x=y", "filename", "filename*0=\"a\""] {
        assert_eq!(called(parameters), Ok(None), "{parameters}");
    }
}

#[test]
fn malformed_field_is_rejected_with_a_reason() {
    for (field, why) in [
        (&b"form-data; filename=\"a"[..], "closing quote"),
        (b"form-data; filename=\"a\\\"", "closing quote"),
        (b"form-data; filename=\"caf\xe9\"", "not UTF-8"),
        (b"form-data; name=\"\xff\"", "not UTF-8"),
        (b"form-data; filename=a; filename=b", "twice"),
        (b"form-data; name=a; NAME=a", "twice"),
        (b"form-data; filename*=a; filename*=b", "twice"),
        (b"form-data; filename*=a", "filename*"),
        (b"form-data; filename*=UTF-8''%FF", "filename*"),
    ] {
        assert!(
            parse(field).is_err_and(|error| error.contains(why)),
            "{:?}",
            String::from_utf8_lossy(field)
        );
    }
    // The one that counts is good.
    let field = b"form-data; filename=\"caf\xe9\"; filename*=UTF-8''caf%C3%A9";
    assert_eq!(parse(field).unwrap().file_name.as_deref(), Some("café"));
}

#[test]
fn field_without_parameters_has_no_names() {
    for field in [&b""[..], b"form-data", b"form-data;", b"=\"\""] {
        assert_eq!(parse(field), Ok(Disposition::default()), "{field:?}");
    }
}

fn percent(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// In words of 45 bytes, wherever that cuts.
fn words(name: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |part: &[u8]| {
        let mut text = String::new();
        for three in part.chunks(3) {
            let byte = |at| u32::from(*three.get(at).unwrap_or(&0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(if at > three.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
        format!("=?utf-8?B?{text}?=")
    };
    let parts: Vec<_> = name.as_bytes().chunks(45).map(encode).collect();
    parts.join(" ")
}

proptest! {
    #[test]
    fn every_encoding_preserves_the_name(name in "[^\\p{Cc}]{1,80}") {
        let read = |parameters: String| called(&parameters).unwrap().unwrap();
        prop_assert_eq!(&read(format!("filename*=UTF-8''{}", percent(&name))), &name);
        prop_assert_eq!(&read(format!("filename=\"{}\"", words(&name))), &name);
        let dotnet = format!("filename=\"{}\"; filename*=utf-8''{}", words(&name), percent(&name));
        prop_assert_eq!(&read(dotnet), &name);
        let is_plain = encoded_words(&name).is_none() && unescaped(&name) == name;
        if is_plain {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(&read(format!("filename=\"{escaped}\"")), &name);
        }
        if is_plain && !name.contains('\\') {
            let browser = name.replace('"', "%22");
            prop_assert_eq!(&read(format!("filename=\"{browser}\"")), &name);
        }
    }

    #[test]
    fn accepted_name_is_always_safe_to_show(
        field in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "form-data; *((file)?name\\*?[= ]*[\"=?;%\\\\'/a-fQB0-9ż]{0,30};? *){0,4}".prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(disposition) = parse(&field)
            && let Ok(name) = clean_name(disposition.file_name.as_deref())
        {
            prop_assert!(!name.is_empty() && name.len() <= 255);
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
        }
    }

    #[test]
    fn quoted_text_cannot_split_a_field(name in "[^\\p{Cc}\"\\\\]{0,40}") {
        let field = format!("form-data; filename=\"{name}\"; name=\"file\"");
        let disposition = parse(field.as_bytes()).unwrap();
        prop_assert_eq!(disposition.name.as_deref(), Some("file"));
    }
}
