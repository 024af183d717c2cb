//! Until when a certificate is valid, for a metric. rustls checks that of others and says nothing
//! of one's own, and a whole X.509 parser is much for two times.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Tags of DER: those that lead to the validity, and the two forms of a time (RFC 5280 section
/// 4.1.2.5).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the validity of an X.509 certificate in DER; none where it cannot be found.
pub(crate) fn not_after(der: &[u8]) -> Option<OffsetDateTime> {
    let (certificate, _) = sequence(der)?;
    let (mut signed, _) = sequence(certificate)?;
    if signed.first() == Some(&VERSION) {
        (_, _, signed) = element(signed)?;
    }
    // The serial number, the algorithm and the issuer.
    for _ in 0..3 {
        (_, _, signed) = element(signed)?;
    }
    let (validity, _) = sequence(signed)?;
    let (_, _, behind) = element(validity)?;
    let (tag, text, _) = element(behind)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // Two digits of the year: 50 to 99 are of the twentieth century.
        UTC_TIME if text.get(..2)?.parse::<u8>().ok()? < 50 => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let number = |from: usize| digits.get(from..from + 2)?.parse::<u8>().ok();
    let month = Month::try_from(number(4)?).ok()?;
    let date = Date::from_calendar_date(digits.get(..4)?.parse().ok()?, month, number(6)?);
    let time = Time::from_hms(number(8)?, number(10)?, number(12)?);
    Some(PrimitiveDateTime::new(date.ok()?, time.ok()?).assume_utc())
}

/// What is in a sequence, and what is behind it.
fn sequence(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, inside, behind) = element(der)?;
    (tag == SEQUENCE).then_some((inside, behind))
}

/// The tag of the first element, what is in it, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        _ => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let digits = Some(digits).filter(|digits| (1..=4).contains(&digits.len()))?;
            let number = digits
                .iter()
                .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            (number, rest)
        }
    };
    let (inside, behind) = rest.split_at_checked(length)?;
    Some((*tag, inside, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_certificate_is_read_in_both_forms_of_a_time() {
        for (year, month, day) in [(2031, 2, 3), (2049, 12, 31), (2101, 6, 7)] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut asked = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
            asked.not_after = rcgen::date_time_ymd(year, month, day);
            let wanted = asked.not_after;
            let made = asked.self_signed(&key).unwrap();
            assert_eq!(not_after(made.der()), Some(wanted));
            // Whatever is cut off, nothing is read that is not there.
            for end in 0..made.der().len() {
                let _ = not_after(&made.der()[..end]);
            }
        }
        assert_eq!(not_after(&[]), None);
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
