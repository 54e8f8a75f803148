//! Money as whole minor units, and its exact decimal spelling.
//!
//! No float appears anywhere: text becomes an integer digit by digit, and back.

use std::fmt;

use iso_currency::Currency as Iso;
use thiserror::Error;

/// The money that one command moves, in minor units (cents for `EUR`, yen for `JPY`).
///
/// From 0 to `i64::MAX`: a negative amount cannot be held, so no rule has to ask again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// No money at all.
    pub const ZERO: Self = Self(0);

    /// An amount of `minor` units; `None` if it is negative.
    #[must_use]
    pub const fn from_minor(minor: i64) -> Option<Self> {
        if minor < 0 { None } else { Some(Self(minor)) }
    }

    /// The whole number of minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }
}

/// What a wallet holds, in minor units.
///
/// From 0 to [`Balance::MAX`], so that a caller whose JSON parser reads doubles still gets every cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance(i64);

impl Balance {
    /// An empty wallet.
    pub const ZERO: Self = Self(0);
    /// 2^53 − 1 minor units, the largest whole number below which a double misses none (ECMA-262,
    /// `Number.MAX_SAFE_INTEGER`).
    pub const MAX: Self = Self(9_007_199_254_740_991);

    /// A balance of `minor` units; `None` outside 0 … [`Balance::MAX`].
    #[must_use]
    pub const fn from_minor(minor: i64) -> Option<Self> {
        if minor < 0 || minor > Self::MAX.0 { None } else { Some(Self(minor)) }
    }

    /// The whole number of minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// This balance and `amount` more; `None` if that passes [`Balance::MAX`].
    #[must_use]
    pub fn credit(self, amount: Amount) -> Option<Self> {
        self.0.checked_add(amount.0).and_then(Self::from_minor)
    }

    /// This balance less `amount`; `None` if there is not enough.
    #[must_use]
    pub fn debit(self, amount: Amount) -> Option<Self> {
        self.0.checked_sub(amount.0).and_then(Self::from_minor)
    }
}

/// An ISO 4217 currency and the number of its decimals, as its minor unit has them.
///
/// ```
/// use wallet::ledger::Currency;
///
/// let eur: Currency = "EUR".parse().unwrap();
/// for spelling in ["1", "1.0", "1.00", "10e-1", "1.10000000000e0", "0.0110E2"] {
///     let minor = eur.parse_minor(spelling).unwrap();
///     assert!(minor == 100 || minor == 110, "{spelling} became {minor}");
/// }
/// assert_eq!(eur.format_minor(900), "9.00");
/// assert!(eur.parse_minor("1.005").is_err(), "finer than a cent");
///
/// let jpy: Currency = "JPY".parse().unwrap();
/// assert_eq!(jpy.format_minor(900), "900");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency {
    iso: Iso,
    decimals: u8,
}

impl Currency {
    /// Every currency that has a minor unit.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..1_000).filter_map(Iso::from_numeric).filter_map(Self::with_minor_unit)
    }

    fn with_minor_unit(iso: Iso) -> Option<Self> {
        let decimals = u8::try_from(iso.exponent()?).ok()?;
        Some(Self { iso, decimals })
    }

    /// The three-letter code, such as `EUR`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.iso.code()
    }

    /// How many decimals an amount is written with: 2 for `EUR`, 0 for `JPY`, 3 for `KWD`.
    #[must_use]
    pub const fn decimals(&self) -> u8 {
        self.decimals
    }

    /// Reads the text of a JSON number as minor units, whatever its spelling.
    ///
    /// The cost is linear in the text's length and does not depend on its exponent.
    ///
    /// # Errors
    /// [`DecimalError`] if the text is no JSON number, is finer than the minor unit, or does not fit an `i64`.
    pub fn parse_minor(&self, text: &str) -> Result<i64, DecimalError> {
        parse_decimal(text, self.decimals)
    }

    /// Writes minor units with the currency's decimals: `-0.05`, `9.00`, `900`.
    #[must_use]
    pub fn format_minor(&self, minor: i64) -> String {
        let decimals = usize::from(self.decimals);
        let sign = if minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Iso::from_code(code).and_then(Self::with_minor_unit).ok_or_else(|| UnknownCurrency(code.to_owned()))
    }
}

/// A code that names no ISO 4217 currency, or one without a minor unit (gold, `XAU`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not the code of an ISO 4217 currency with a minor unit, such as EUR, JPY or KWD")]
pub struct UnknownCurrency(String);

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
    i64::try_from(if negative { -minor } else { minor }).map_err(|_| DecimalError::OutOfRange)
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
    fn amounts_are_written_with_the_currencys_decimals() {
        let write = |code: &str, minor| code.parse::<Currency>().unwrap().format_minor(minor);
        assert_eq!(write("EUR", 0), "0.00");
        assert_eq!(write("EUR", 5), "0.05");
        assert_eq!(write("EUR", -5), "-0.05");
        assert_eq!(write("EUR", Balance::MAX.minor()), "90071992547409.91");
        assert_eq!(write("EUR", i64::MIN), "-92233720368547758.08");
        assert_eq!(write("JPY", 42), "42");
        assert_eq!(write("KWD", 1), "0.001");
    }

    #[test]
    fn a_currency_has_its_code_and_its_decimals() {
        for (code, decimals, minor) in [("EUR", 2, 1_200), ("JPY", 0, 12), ("KWD", 3, 12_000)] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.code(), currency.to_string().as_str()), (code, code));
            assert_eq!((currency.decimals(), currency.parse_minor("12")), (decimals, Ok(minor)));
        }
    }

    #[test]
    fn all_currencies_are_those_with_a_minor_unit() {
        let codes: Vec<&str> = Currency::all().map(|currency| currency.code()).collect();
        assert!(["EUR", "JPY", "KWD", "USD"].iter().all(|code| codes.contains(code)), "{codes:?}");
        assert!(!codes.contains(&"XAU") && codes.len() > 100, "{codes:?}");
    }

    #[test]
    fn a_currency_needs_a_minor_unit() {
        for code in ["XAU", "EURO", "eur", ""] {
            assert!(code.parse::<Currency>().is_err(), "{code}");
        }
    }

    #[test]
    fn a_balance_stays_within_its_limits() {
        let amount = |minor| Amount::from_minor(minor).unwrap();
        assert_eq!(Balance::MAX.credit(amount(1)), None);
        assert_eq!(Balance::MAX.credit(amount(i64::MAX)), None);
        assert_eq!(Balance::ZERO.debit(amount(1)), None);
        assert_eq!(Balance::ZERO.credit(amount(5)).and_then(|five| five.debit(amount(5))), Some(Balance::ZERO));
    }
}
