//! Quantities of a resource (ace.md, Resource Isolators).

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::error::Error;
use super::json::FromJson;

/// The most decimal places that are read.
const PLACES: usize = 15;

/// An amount of bytes, cores or operations, held as an integer number of thousandths of its base unit.
///
/// Written as digits with an optional decimal fraction and one of the suffixes `n u m` (10⁻⁹, 10⁻⁶, 10⁻³), `k` or `K`, `M`,
/// `G`, `T`, `P`, `E` (10³ to 10¹⁸), `Ki Mi Gi Ti Pi Ei` (2¹⁰ to 2⁶⁰) or an exponent such as `e3`. What is finer than a
/// thousandth is rounded up, so that something asked for is never nothing. Negative amounts, and amounts of 2⁶⁴ base units or
/// more, are errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    milli: u128,
}

impl Quantity {
    /// So many whole base units.
    pub fn from_units(units: u64) -> Self {
        Quantity { milli: u128::from(units) * 1000 }
    }

    /// The amount in thousandths of the base unit.
    pub fn milli(self) -> u128 {
        self.milli
    }

    /// The amount in whole base units, rounded up.
    pub fn to_u64_ceil(self) -> u64 {
        // No quantity is made beyond u64::MAX units.
        u64::try_from(self.milli.div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// The thousandths of a unit that a suffix stands for, as a fraction.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |exponent: i32| match u32::try_from(exponent + 3) {
        Ok(up) => (10_u128.pow(up), 1),
        Err(_) => (1, 10_u128.pow((exponent + 3).unsigned_abs())),
    };
    let binary = |exponent: u32| (1000 << exponent, 1);
    Some(match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" | "K" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-18..=18).contains(&exponent).then(|| decimal(exponent))?
        }
    })
}

fn digits(text: &str) -> Option<u128> {
    text.bytes().try_fold(0_u128, |sum, byte| sum.checked_mul(10)?.checked_add(u128::from(byte.wrapping_sub(b'0'))))
}

/// Thousandths of `WHOLE.FRACTION` times the scale, rounded up; none where that is too large.
fn thousandths(whole: &str, fraction: &str, (over, under): (u128, u128)) -> Option<u128> {
    let shift = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = digits(whole)?.checked_mul(over)?;
    // What the division leaves is carried into the fraction, so that there is one rounding. `rest` is less than 10^15,
    // `shift` at most 10^15, `over` at most 1000 * 2^60: nothing here reaches 2^128.
    let (quotient, rest) = (scaled / under, scaled % under);
    let fine = rest * shift + digits(fraction)? * over;
    quotient.checked_add(fine.div_ceil(shift * under))
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::bad(text, "is not a quantity such as 1500, 0.5, 250m, 2G or 512Mi");
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if unsigned.starts_with('-') {
            return Err(Error::bad(text, "is a negative quantity"));
        }
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(malformed());
        }
        let factor = scale(suffix).ok_or_else(malformed)?;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > PLACES {
            return Err(Error::bad(text, format_args!("has more than {PLACES} decimal places")));
        }
        match thousandths(whole, fraction, factor) {
            Some(milli) if milli <= u128::from(u64::MAX) * 1000 => Ok(Quantity { milli }),
            _ => Err(Error::bad(text, "is too large a quantity")),
        }
    }
}

/// The amount in base units, or in thousandths with `m` where it is not whole.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.milli % 1000 {
            0 => write!(f, "{}", self.milli / 1000),
            _ => write!(f, "{}m", self.milli),
        }
    }
}

/// A string; a bare number is taken too, as the Go schema does.
impl FromJson for Quantity {
    fn from_json(value: &Value) -> Result<Self, Error> {
        match value {
            Value::String(text) => text.trim().parse(),
            Value::Number(number) => number.to_string().parse(),
            other => Err(Error::mistyped(other, "a quantity")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("+1", 1000),
            ("250m", 250),
            ("0.3", 300),
            (".001", 1),
            ("1.", 1000),
            ("1.G", 1_000_000_000_000),
            ("007", 7000),
            ("2G", 2_000_000_000_000),
            ("8k", 8_000_000),
            ("8K", 8_000_000),
            ("1E", 10_u128.pow(21)),
            ("1E3", 1_000_000),
            ("1.3E+6", 1_300_000_000),
            ("0.5e-1", 50),
            ("1E-3", 1),
            ("100.035Ki", 102_435_840),
            ("0.025Ti", 27_487_790_694_400),
            ("3Ei", 3000 << 60),
            ("0.000000000001Ki", 1),
            ("3.001n", 1),
            ("1001u", 2),
            ("1.1u", 1),
            ("0n", 0),
            ("5000000n", 5),
            ("5000000.5n", 6),
            ("0.00000000000000000000", 0),
            ("18446744073709551615", u128::from(u64::MAX) * 1000),
        ] {
            assert_eq!(text.parse::<Quantity>().map(Quantity::milli), Ok(milli), "{text}");
        }
        let same = ["128974848", "125952Ki", "123Mi"].map(|text| text.parse::<Quantity>().unwrap());
        assert!(same.iter().all(|quantity| *quantity == Quantity::from_units(128_974_848)));
    }

    #[test]
    fn refused() {
        let malformed =
            ["", ".", "+", "m", "1 G", "1Q", "1mi", "1ki", "1.2.3", "0x10", "1e", "1e999", "1e3.5", "é", "1é", "++1"];
        for text in malformed {
            let error = text.parse::<Quantity>().expect_err(text).to_string();
            assert!(error.contains("is not a quantity"), "{error}");
        }
        let long = "9".repeat(10_000);
        for text in
            ["18446744073709551616", "18446744073709551615001m", "16Ei", "19E", "99999999999999999999999Ei", &long]
        {
            let error = text.parse::<Quantity>().expect_err(text).to_string();
            assert!(error.contains("too large"), "{error}");
        }
        assert!("-1".parse::<Quantity>().expect_err("negative").to_string().contains("negative"));
        assert!("0.0000000000000001".parse::<Quantity>().is_err());
    }

    #[test]
    fn rounding_is_up() {
        for (text, units) in
            [("1m", 1), ("999m", 1), ("1001m", 2), ("1.5", 2), ("0", 0), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().to_u64_ceil(), units, "{text}");
        }
    }

    #[test]
    fn json_and_text() {
        for (json, text) in
            [("\" 1.5 \"", "1500m"), ("1.5", "1500m"), ("1e21", ""), ("1000", "1000"), ("1e3", "1000"), ("[]", "")]
        {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(Quantity::from_json(&value).map(|q| q.to_string()).unwrap_or_default(), text, "{json}");
        }
    }
}
