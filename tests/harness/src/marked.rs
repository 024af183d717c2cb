//! Really different releases of the guest `marked`: each has its number in its data and in its
//! code.

use super::guests::guest;

/// As in the guest's source.
const IN_DATA: &[u8] = b"hms-release-mark:00000000";
const IN_CODE: u64 = 0x4d41_524b_0000_0000;

/// Bytes of a tag, `NNNNNNNN/NNNNNNNN`: the number that the answer's code had in its data, and in
/// itself.
pub const TAG_BYTES: usize = 17;

/// The largest number that a release can be marked with: eight digits.
pub const MAX_NUMBER: u32 = 99_999_999;

/// The tag of the release marked with `number`.
pub fn tag(number: u32) -> String {
    format!("{number:08}/{number:08}")
}

/// The number in a tag; `None` where data and code do not agree.
pub fn number(tag: &str) -> Option<u32> {
    let (in_data, in_code) = tag.split_once('/')?;
    (tag.len() == TAG_BYTES && in_data == in_code)
        .then(|| in_data.parse().ok())
        .flatten()
}

/// The guest as it was built, to be marked.
pub struct Marked {
    unmarked: Vec<u8>,
    data: usize,
    code: usize,
}

impl Marked {
    pub async fn build() -> Self {
        let unmarked = guest("marked").await;
        let data = only(&unmarked, IN_DATA);
        let code = only(&unmarked, &leb128(IN_CODE));
        Marked {
            unmarked,
            data,
            code,
        }
    }

    /// The component of release `number`.
    pub fn release(&self, number: u32) -> Vec<u8> {
        assert!(number <= MAX_NUMBER);
        let mut bytes = self.unmarked.clone();
        let mut write = |at: usize, new: &[u8]| bytes[at..at + new.len()].copy_from_slice(new);
        write(
            self.data,
            format!("hms-release-mark:{number:08}").as_bytes(),
        );
        // The upper half alone decides the length, so it is the same for every number.
        write(self.code, &leb128(IN_CODE | u64::from(number)));
        bytes
    }
}

fn only(bytes: &[u8], pattern: &[u8]) -> usize {
    let mut found = bytes
        .windows(pattern.len())
        .enumerate()
        .filter(|(_, window)| *window == pattern);
    let (at, _) = found.next().expect("the guest has its mark");
    assert!(found.next().is_none(), "the guest has its mark once");
    at
}

/// A positive `i64.const` as WebAssembly writes it: signed LEB128.
fn leb128(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 && low & 0x40 == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
