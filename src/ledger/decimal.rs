//! The exact decimal text of whole numbers: no float appears anywhere, text becomes an integer digit by digit.

use thiserror::Error;

/// One divided by how far a number may be from a whole one, to be taken for it where that is wanted.
const TOLERANCE: i128 = 10_000;
/// How many decimals that has.
const TOLERANCE_DECIMALS: i64 = 4;

/// Why the text of a number is not a whole number of minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// The text is no JSON number (RFC 8259, section 6).
    #[error("is not a number")]
    NotANumber,
    /// There are digits other than 0 behind the last decimal.
    #[error("has more than {0} decimals")]
    TooFine(u8),
    /// The number does not fit an `i64` of minor units.
    #[error("is out of range")]
    OutOfRange,
}

/// Reads the text of a JSON number as a whole number of `10^-decimals`.
///
/// Zeros are counted, not multiplied out, so neither a long tail of them nor a hostile exponent costs anything.
///
/// # Errors
/// [`DecimalError`], as its variants say.
pub fn parse_decimal(text: &str, decimals: u8) -> Result<i64, DecimalError> {
    let Parts { negative, whole, fraction, exponent } = Parts::split(text)?;
    let Significand { digits, zeros } = Significand::read(whole.bytes().chain(fraction.bytes()))?;
    if digits == Some(0) {
        return Ok(0);
    }
    let fraction_len = i64::try_from(fraction.len()).map_err(|_| DecimalError::OutOfRange)?;
    let shift = exponent.saturating_add(zeros).saturating_add(i64::from(decimals)) - fraction_len;
    let shift = u32::try_from(shift).map_err(|_| DecimalError::TooFine(decimals))?;
    let minor = digits
        .zip(10_i128.checked_pow(shift))
        .and_then(|(digits, factor)| digits.checked_mul(factor))
        .ok_or(DecimalError::OutOfRange)?;
    signed(negative, minor)
}

/// Reads the text of a JSON number as the whole number of `10^-decimals` that is at most a ten-thousandth away.
///
/// The cost is linear in the text's length, as that of [`parse_decimal`].
///
/// # Errors
/// [`DecimalError`], as its variants say: [`DecimalError::TooFine`] if there is no whole number that close.
pub fn parse_decimal_tolerant(text: &str, decimals: u8) -> Result<i64, DecimalError> {
    let exact = parse_decimal(text, decimals);
    if exact != Err(DecimalError::TooFine(decimals)) {
        return exact;
    }
    let Parts { negative, whole, fraction, exponent } = Parts::split(text)?;
    let whole_len = i64::try_from(whole.len()).map_err(|_| DecimalError::OutOfRange)?;
    // How many of the digits stand before the point, when ten-thousandths are counted. The number is too fine for
    // `decimals`, so there are digits behind them: nothing has to be padded but the last four places.
    let count = whole_len.saturating_add(exponent).saturating_add(i64::from(decimals) + TOLERANCE_DECIMALS);
    let count = usize::try_from(count).unwrap_or(0);
    let mut digits = whole.bytes().chain(fraction.bytes());
    let mut ten_thousandths = 0_i128;
    for _ in 0..count {
        let digit = digits.next().map_or(0, |byte| i128::from(byte - b'0'));
        let longer = ten_thousandths.checked_mul(10).and_then(|longer| longer.checked_add(digit));
        ten_thousandths = longer.ok_or(DecimalError::OutOfRange)?;
    }
    let is_more = digits.any(|byte| byte != b'0');
    let (below, rest) = (ten_thousandths / TOLERANCE, ten_thousandths % TOLERANCE);
    let nearest = match (rest, is_more) {
        (0, _) | (1, false) => below,
        (rest, _) if rest == TOLERANCE - 1 => below + 1,
        _ => return Err(DecimalError::TooFine(decimals)),
    };
    signed(negative, nearest)
}

fn signed(negative: bool, magnitude: i128) -> Result<i64, DecimalError> {
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| DecimalError::OutOfRange)
}

/// The parts of a number's text. Whether the digits are digits is not looked at yet.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, DecimalError> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (magnitude, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(DecimalError::NotANumber),
            None => (mantissa, ""),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(DecimalError::NotANumber);
        }
        Ok(Self { negative, whole, fraction, exponent })
    }
}

/// A number without its trailing zeros, and how many there were.
struct Significand {
    /// `None` when there are more digits than an `i128` holds.
    digits: Option<i128>,
    zeros: i64,
}

impl Significand {
    fn read(text: impl Iterator<Item = u8>) -> Result<Self, DecimalError> {
        let mut digits = Some(0_i128);
        let mut zeros = 0_u32;
        for byte in text {
            match byte {
                b'0' => zeros = zeros.saturating_add(1),
                b'1'..=b'9' => {
                    // Zeros before the first digit other than 0 multiply nothing.
                    let factor =
                        if digits == Some(0) { Some(10) } else { 10_i128.checked_pow(zeros.saturating_add(1)) };
                    digits = digits
                        .zip(factor)
                        .and_then(|(digits, factor)| digits.checked_mul(factor))
                        .and_then(|digits| digits.checked_add(i128::from(byte - b'0')));
                    zeros = 0;
                }
                _ => return Err(DecimalError::NotANumber),
            }
        }
        Ok(Self { digits, zeros: i64::from(zeros) })
    }
}

/// Reads an exponent, clamped far outside what any amount could use and far inside what `i64` sums can hold.
fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    const CLAMP: i64 = 1_000_000_000;
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(DecimalError::NotANumber);
    }
    let magnitude = digits.iter().try_fold(0_i64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0')).ok_or(DecimalError::NotANumber)?;
        Ok((sum * 10 + digit).min(CLAMP))
    })?;
    Ok(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(text: &str) -> Result<i64, DecimalError> {
        parse_decimal(text, 2)
    }

    #[test]
    fn every_spelling_of_a_number_is_the_same_amount() {
        for one in ["1", "1.0", "1.00", "10e-1", "1e0", "0.1E+1", "100E-2", "1.00000000000000000000000000000000000000"]
        {
            assert_eq!(eur(one), Ok(100), "{one}");
        }
        assert_eq!(eur("1.10000000000"), Ok(110));
        assert_eq!(eur("0.07"), Ok(7));
        assert_eq!(eur("-0.0"), Ok(0));
        assert_eq!(eur("0e99999999999999999999"), Ok(0));
        assert_eq!(eur("0.000000000000000000000000000000000000000000001e45"), Ok(100));
        assert_eq!(eur("-1.00"), Ok(-100));
    }

    #[test]
    fn finer_than_the_minor_unit_is_an_error() {
        for fine in ["1.005", "1e-3", "1e-99999999", "0.001", "1.0000000000000000000000000000000000000000001"] {
            assert_eq!(eur(fine), Err(DecimalError::TooFine(2)), "{fine}");
        }
        assert_eq!(parse_decimal("0.1", 0), Err(DecimalError::TooFine(0)));
    }

    #[test]
    fn the_range_is_that_of_an_i64_of_minor_units() {
        assert_eq!(eur("92233720368547758.07"), Ok(i64::MAX));
        assert_eq!(eur("-92233720368547758.08"), Ok(i64::MIN));
        for out in ["92233720368547758.08", "1e400", "-1e400", "1e99999999999999999999", &"9".repeat(60)] {
            assert_eq!(eur(out), Err(DecimalError::OutOfRange), "{out}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        let bad = [
            "", "-", "+1", "01", ".5", "1.", "1e", "1e+", "1.e3", "1,0", "0x10", "NaN", "Infinity", "1 ", "--1",
            "1e1.5", "٣",
        ];
        for text in bad {
            assert_eq!(eur(text), Err(DecimalError::NotANumber), "{text:?}");
        }
    }

    #[test]
    fn what_a_float_all_but_missed_is_what_was_meant() {
        let tolerant = |text: &str| parse_decimal_tolerant(text, 2);
        for (text, minor) in [
            ("0.30000000000000004", 30),
            ("0.29999999999999998", 30),
            ("0.299999999999999988897769753748434595763683319091796875", 30),
            ("-0.30000000000000004", -30),
            ("3.0000000000000004e-1", 30),
            ("30000000000000004e-17", 30),
            ("1.1", 110),
            ("1.999999", 200),
            ("9.999999", 1_000),
            ("92233720368547758.070001", i64::MAX),
            // The edge itself is within, from both sides.
            ("0.300001", 30),
            ("0.299999", 30),
            ("0.3000010000000000000000000000000000000000000000000", 30),
            ("0.000001", 0),
            ("-0.000001", 0),
            ("1e-99999999", 0),
        ] {
            assert_eq!(tolerant(text), Ok(minor), "{text}");
        }
        for text in [
            "0.3000010000000000000000000000000000000000000000001",
            "0.3000011",
            "0.2999989999999999999999999999999999999999999999999",
            "0.299998",
            "0.305",
            "0.0000011",
            "1e-5",
            "1e-3",
            "-0.305",
        ] {
            assert_eq!(tolerant(text), Err(DecimalError::TooFine(2)), "{text}");
        }
        for text in ["92233720368547758.079999999", "9999999999999999999999999999999999999999999999.0000001", "1e400"] {
            assert_eq!(tolerant(text), Err(DecimalError::OutOfRange), "{text}");
        }
        for text in ["", "0.3x", "+0.3000000004", "00.30000004", ".300000004", "NaN"] {
            assert_eq!(tolerant(text), Err(DecimalError::NotANumber), "{text}");
        }
    }

    #[test]
    fn the_tolerance_is_a_part_of_the_currencys_own_minor_unit() {
        for (decimals, within, beyond) in [
            (0, ["2.0001", "1.9999"], ["2.00011", "1.99989"]),
            (3, ["0.0020001", "0.0019999"], ["0.00200011", "0.00199989"]),
        ] {
            for text in within {
                assert_eq!(parse_decimal_tolerant(text, decimals), Ok(2), "{text}");
            }
            for text in beyond {
                assert_eq!(parse_decimal_tolerant(text, decimals), Err(DecimalError::TooFine(decimals)), "{text}");
            }
        }
    }

    #[test]
    fn digits_and_exponents_without_end_cost_nothing() {
        let long = format!("0.3{}4", "0".repeat(60_000));
        assert_eq!(parse_decimal_tolerant(&long, 2), Ok(30));
        let long = format!("{}.00000001", "9".repeat(60_000));
        assert_eq!(parse_decimal_tolerant(&long, 2), Err(DecimalError::OutOfRange));
        let long = format!("{}e-60005", "9".repeat(60_000));
        assert_eq!(parse_decimal_tolerant(&long, 2), Err(DecimalError::TooFine(2)));
        assert_eq!(parse_decimal_tolerant("1.23e-999999999999999999999", 2), Ok(0));
    }
}
