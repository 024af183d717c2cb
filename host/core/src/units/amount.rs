//! A whole number with a unit, from which sizes and times are made.

/// A unit, and how many of the smallest it is.
pub(super) type Unit = (&'static str, u64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AmountError {
    /// There is no number, or no unit of these.
    Malformed,
    /// The amount does not fit into 64 bits.
    TooLarge,
}

/// The digits at the start of a text, and what follows them without the space around it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// The amount that `number` of `unit` is, in the smallest unit.
pub(super) fn amount(number: &str, unit: Option<&Unit>) -> Result<u64, AmountError> {
    let Some((_, factor)) = unit else {
        return Err(AmountError::Malformed);
    };
    let number: u64 = number.parse().map_err(|_| AmountError::Malformed)?;
    number.checked_mul(*factor).ok_or(AmountError::TooLarge)
}

/// `amount` in the largest of `units` that expresses it exactly. The units are in ascending order.
pub(super) fn exact(amount: u64, units: &[Unit]) -> (u64, &'static str) {
    let fits = |(_, factor): &&Unit| amount > 0 && amount.is_multiple_of(*factor);
    match units.iter().rev().find(fits).or(units.first()) {
        Some((unit, factor)) => (amount / factor, unit),
        None => (amount, ""),
    }
}
