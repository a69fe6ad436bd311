//! The Timestamps type (types.md): RFC 3339 with the `T`.

/// Takes `digits` ASCII digits from the front of `text`: their value and the rest.
fn number(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(digits)?;
    let value = head.bytes().all(|b| b.is_ascii_digit()).then(|| head.parse().ok())??;
    Some((value, rest))
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn read_date(text: &str) -> Option<&str> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    ((1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day)).then_some(rest)
}

fn read_hour_minute(text: &str) -> Option<&str> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    (hour < 24 && minute < 60).then_some(rest)
}

fn read_second(text: &str) -> Option<&str> {
    let (second, rest) = number(text, 2)?;
    let rest = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < fraction.len()).then_some(rest)?
        }
    };
    // A leap second is second 60.
    (second <= 60).then_some(rest)
}

fn read_offset(text: &str) -> Option<&str> {
    text.strip_prefix('Z').or_else(|| read_hour_minute(text.strip_prefix(['+', '-'])?))
}

/// Whether `text` is a timestamp: `2014-10-27T19:32:27.67021798Z`, in capitals, with a zone.
pub(super) fn is_timestamp(text: &str) -> bool {
    let read = || {
        let time = read_date(text)?.strip_prefix('T')?;
        read_offset(read_second(read_hour_minute(time)?.strip_prefix(':')?)?)
    };
    read() == Some("")
}

/// The timestamp of a moment in seconds since 1970, in UTC: `2014-10-27T19:32:27Z`. The year ends at 9999.
pub fn timestamp(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut month) = (1970, 1);
    let year_length = |year| if days_in(year, 2) == 29 { 366 } else { 365 };
    while days >= year_length(year) {
        days -= year_length(year);
        year += 1;
    }
    while days >= u64::from(days_in(year, month)) {
        days -= u64::from(days_in(year, month));
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", days + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::{is_timestamp, timestamp};

    #[test]
    fn moments_are_written() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_414_438_347, "2014-10-27T19:32:27Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
            assert!(is_timestamp(text));
        }
    }

    #[test]
    fn timestamps() {
        for good in [
            "2014-10-27T19:32:27.67021798Z",
            "2015-05-18T13:49:28.351729952-04:00",
            "2004-05-14T23:11:14+00:00",
            "2016-12-31T23:59:60Z",
            "2000-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert!(is_timestamp(good), "{good}");
        }
        for bad in [
            "",
            "yesterday",
            "2014-10-27",
            "2014-10-27 19:32:27Z",
            "2014-10-27T19:32:27",
            "2014-10-27T19:32:27.Z",
            "2014-10-27T19:32Z",
            "2014-10-27T24:00:00Z",
            "2014-10-27T19:60:00Z",
            "2014-10-27T19:32:61Z",
            "2014-13-27T19:32:27Z",
            "2014-00-27T19:32:27Z",
            "2014-02-29T19:32:27Z",
            "1900-02-29T19:32:27Z",
            "2014-04-31T19:32:27Z",
            "2014-10-00T19:32:27Z",
            "2014-10-27T19:32:27+0100",
            "2014-10-27T19:32:27+24:00",
            "2014-10-27T19:32:27Zulu",
            "+014-10-27T19:32:27Z",
            "２014-10-27T19:32:27Z",
            "201é-10-27T19:32:27Z",
        ] {
            assert!(!is_timestamp(bad), "{bad}");
        }
    }
}
