//! Numbers of bytes.

use super::amount::{AmountError, Unit, amount, exact, split};
use std::fmt;
use std::str::FromStr;

const UNITS: [Unit; 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A number of bytes, such as `64MiB`. A number alone is bytes; the case of the unit does not
/// matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// What the text of a size matches: a regular expression for a JSON Schema.
    pub const PATTERN: &str = "^[0-9]+ *([KkMmGg][Ii][Bb]|[Bb])?$";

    /// That many bytes.
    pub const fn of(bytes: u64) -> Self {
        Size(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// For a person, with one decimal: `12.3 MiB`.
    pub fn rounded(self) -> String {
        match self.0 {
            bytes @ 0..1024 => format!("{bytes} B"),
            bytes @ 1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
            bytes => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, name) = split(text);
        let name = if name.is_empty() { "B" } else { name };
        let unit = UNITS
            .iter()
            .find(|(unit, _)| unit.eq_ignore_ascii_case(name));
        amount(number, unit).map(Size).map_err(|error| match error {
            AmountError::TooLarge => "too large: a size is below 16 EiB".to_owned(),
            AmountError::Malformed => {
                "not a size: write a number of bytes, KiB, MiB or GiB, for example 64MiB".to_owned()
            }
        })
    }
}

/// Exactly, in the largest unit that can: `64MiB`, `1000B`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = exact(self.0, &UNITS);
        write!(f, "{number}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn size_is_a_number_with_an_optional_unit() {
        let texts = [
            ("64MiB", 64 << 20),
            ("1 GiB", 1 << 30),
            ("512kib", 512 << 10),
            ("100B", 100),
            ("100", 100),
            ("0", 0),
        ];
        for (text, bytes) in texts {
            assert_eq!(text.parse(), Ok(Size::of(bytes)), "{text}");
        }
    }

    #[test]
    fn invalid_size_is_rejected_with_an_example() {
        for wrong in ["", "64 parsecs", "MiB", "-1", "1.5GiB", " 1MiB", "1MB"] {
            let why = wrong.parse::<Size>().unwrap_err();
            assert!(why.contains("for example 64MiB"), "{wrong}: {why}");
        }
        let why = "99999999999GiB".parse::<Size>().unwrap_err();
        assert!(why.contains("too large"), "{why}");
    }

    #[test]
    fn size_displays_in_the_largest_exact_unit() {
        let texts = [
            (0, "0B"),
            (1000, "1000B"),
            (1536, "1536B"),
            (3 << 20, "3MiB"),
            (1 << 40, "1024GiB"),
        ];
        for (bytes, text) in texts {
            assert_eq!(Size::of(bytes).to_string(), text);
        }
        assert_eq!(Size::of(12_897_485).rounded(), "12.3 MiB");
        assert_eq!(Size::of(1023).rounded(), "1023 B");
    }

    proptest! {
        #[test]
        fn size_parses_what_it_displays(number: u32, shift in 0u32..32) {
            let size = Size::of(u64::from(number) << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn size_parser_never_panics(text in "\\PC*") {
            let _ = text.parse::<Size>();
        }
    }
}
