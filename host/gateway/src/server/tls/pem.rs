//! What is in a file that is no certificate or no key, for the sentence that says so.

/// The text without the byte order mark that editors on Windows leave in front.
pub(super) fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file)
}

/// Whether the private key can only be read with a passphrase: PKCS #8 (RFC 5958), or the older way
/// of OpenSSL (RFC 1421).
pub(super) fn is_encrypted(file: &[u8]) -> bool {
    let has = |words: &[u8]| file.windows(words.len()).any(|found| found == words);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// What there is in place of a certificate.
pub(super) fn no_certificate(file: &[u8]) -> String {
    match kinds(file) {
        kinds if kinds.is_empty() => nothing(file),
        kinds if kinds.iter().any(|kind| kind.ends_with("PRIVATE KEY")) => {
            "it has a private key; are --tls-cert and --tls-key swapped?".into()
        }
        kinds => format!("it has: {}", kinds.join(", ")),
    }
}

/// What there is in place of a private key; none where there is one that cannot be read.
pub(super) fn no_key(file: &[u8]) -> Option<String> {
    match kinds(file) {
        kinds if kinds.is_empty() => Some(nothing(file)),
        kinds if kinds.iter().any(|kind| kind.ends_with("PRIVATE KEY")) => None,
        kinds => Some(format!("it has: {}", kinds.join(", "))),
    }
}

fn nothing(file: &[u8]) -> String {
    match file {
        [] => "it is empty".into(),
        // The sequence that DER (X.690) begins with.
        [0x30, ..] => "it is binary, such as DER or PKCS #12: convert it with openssl".into(),
        _ => "it is no PEM".into(),
    }
}

/// The kinds of what the file holds, as its first lines name them (RFC 7468).
fn kinds(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file);
    let kind = |line: &str| {
        let kind = line.trim().strip_prefix("-----BEGIN ")?;
        Some(kind.strip_suffix("-----")?.to_owned())
    };
    let mut kinds: Vec<String> = text.lines().filter_map(kind).collect();
    kinds.dedup();
    kinds.truncate(8);
    kinds
}
