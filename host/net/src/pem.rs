//! Certificates and keys as PEM, and what a text has that is none, for the sentence that says so.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A PEM text, as a file has it.
#[derive(Debug, Clone, Copy)]
pub struct Pem<'a> {
    /// For sentences: the file.
    pub name: &'a str,
    /// The text itself.
    pub text: &'a [u8],
}

impl Pem<'_> {
    /// Its certificates: one at least, and no more than the first `most`.
    ///
    /// # Errors
    /// A sentence with its name.
    pub fn certificates(&self, most: usize) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = without_mark(self.text);
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text)
            .take(most)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{}: {error}", self.name))?;
        if found.is_empty() {
            let why = no_certificate(text);
            return Err(format!("{} has no certificate (PEM): {why}", self.name));
        }
        Ok(found)
    }

    /// Its private key.
    ///
    /// # Errors
    /// A sentence with its name.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let (text, name) = (without_mark(self.text), self.name);
        PrivateKeyDer::from_pem_slice(text).map_err(|error| match is_encrypted(text) {
            true => format!(
                "the private key in {name} is encrypted, and the host cannot ask for its \
                 passphrase: decrypt it into a file that only this user can read (umask 077; \
                 openssl pkey -in {name} -out NEW), and name that file"
            ),
            false => {
                let why = no_key(text).unwrap_or_else(|| error.to_string());
                format!("{name} has no private key (PEM): {why}")
            }
        })
    }

    /// Whether it has a private key, of whatever kind, in place of certificates.
    pub fn is_key(&self) -> bool {
        let kinds = kinds(without_mark(self.text));
        has_key(&kinds) && !kinds.iter().any(|kind| kind == "CERTIFICATE")
    }

    /// Says that this chain and `key` do not belong together.
    pub fn no_pair(&self, key: Pem<'_>, error: &rustls::Error) -> String {
        format!("{} and {} do not match: {error}", self.name, key.name)
    }
}

fn has_key(kinds: &[String]) -> bool {
    kinds.iter().any(|kind| kind.ends_with("PRIVATE KEY"))
}

/// The text without the byte order mark that editors on Windows leave in front.
fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file)
}

/// Whether the private key can only be read with a passphrase: PKCS #8 (RFC 5958), or the older way
/// of OpenSSL (RFC 1421).
fn is_encrypted(file: &[u8]) -> bool {
    let has = |words: &[u8]| file.windows(words.len()).any(|found| found == words);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// What there is in place of a certificate.
fn no_certificate(file: &[u8]) -> String {
    match kinds(file) {
        kinds if kinds.is_empty() => nothing(file),
        kinds if has_key(&kinds) => "it has a private key".into(),
        kinds => format!("it has: {}", kinds.join(", ")),
    }
}

/// What there is in place of a private key; none where there is one that cannot be read.
fn no_key(file: &[u8]) -> Option<String> {
    match kinds(file) {
        kinds if kinds.is_empty() => Some(nothing(file)),
        kinds if has_key(&kinds) => None,
        kinds => Some(format!("it has: {}", kinds.join(", "))),
    }
}

fn nothing(file: &[u8]) -> String {
    match file {
        [] => "it is empty".into(),
        // The sequence that DER (X.690) begins with.
        [0x30, ..] => "it is binary, such as DER or PKCS #12: convert it with openssl".into(),
        _ => "it is not PEM".into(),
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
