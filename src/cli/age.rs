//! Spans of time as people write them.

use std::time::Duration;

/// The letters that may follow a number, and how many seconds they mean.
const UNITS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];

/// Reads a number of seconds, minutes, hours, days or weeks: `90s`, `30m`, `12h`, `7d`, `2w`.
///
/// # Errors
/// It is no such number, or more than there can be.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time such as 30m, 12h or 7d".to_owned();
    let of_unit = |(unit, seconds): &(&str, u64)| Some((text.strip_suffix(unit)?, *seconds));
    let (digits, seconds) = UNITS.iter().find_map(of_unit).ok_or_else(wrong)?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let count = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    count.map(Duration::from_secs).ok_or_else(|| "that is more than there can be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "1", "-1h", "+1h", "1.5h", "1 h", "1H", "1hd", "99999999999999999999s", "9999999999999999999w"]
        {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
