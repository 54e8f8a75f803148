//! Money as whole minor units, and how it is written.
//!
//! No float appears anywhere: see [`super::decimal`].

use std::fmt;

use iso_currency::Currency as Iso;
use thiserror::Error;

use super::decimal::{DecimalError, parse_decimal, parse_decimal_tolerant};

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

    /// Reads the text of a JSON number as [`Currency::parse_minor`] does, but a number that is at most a ten-thousandth
    /// of a minor unit away from a whole number of them is that one, as one that was computed with floats may be.
    ///
    /// ```
    /// use wallet::ledger::Currency;
    ///
    /// let eur: Currency = "EUR".parse().unwrap();
    /// assert_eq!(eur.parse_minor_tolerant("0.30000000000000004"), Ok(30));
    /// assert!(eur.parse_minor_tolerant("0.305").is_err());
    /// ```
    ///
    /// # Errors
    /// As [`Currency::parse_minor`].
    pub fn parse_minor_tolerant(&self, text: &str) -> Result<i64, DecimalError> {
        parse_decimal_tolerant(text, self.decimals)
    }

    /// Writes minor units with the currency's decimals: `-0.05`, `9.00`, `900`.
    #[must_use]
    pub fn format_minor(&self, minor: i64) -> String {
        self.format(minor < 0, minor.unsigned_abs())
    }

    /// Writes a sum of many amounts, in minor units, as [`Currency::format_minor`] does.
    #[must_use]
    pub fn format_sum(&self, minor: i128) -> String {
        self.format(minor < 0, minor.unsigned_abs())
    }

    fn format(self, negative: bool, magnitude: impl fmt::Display) -> String {
        let decimals = usize::from(self.decimals);
        let sign = if negative { "-" } else { "" };
        let digits = format!("{magnitude:0>width$}", width = decimals + 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_currencys_decimals() {
        let write = |code: &str, minor| code.parse::<Currency>().unwrap().format_minor(minor);
        assert_eq!(write("EUR", 0), "0.00");
        assert_eq!(write("EUR", 5), "0.05");
        assert_eq!(write("EUR", -5), "-0.05");
        assert_eq!(write("EUR", Balance::MAX.minor()), "90071992547409.91");
        assert_eq!(write("EUR", i64::MIN), "-92233720368547758.08");
        let sum = "EUR".parse::<Currency>().unwrap().format_sum(3 * i128::from(i64::MAX));
        assert_eq!(sum, "276701161105643274.21");
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
