//! Parameters of jails: what kinds there are, and values as jail(8) writes them. The kernel says which kind each is of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Boolean,
    /// Nothing, one of the jail's own, or the host's.
    Choice,
    /// Text of at most so many bytes.
    Text(usize),
    /// A whole number of so many bits.
    Number {
        /// 8, 16, 32 or 64.
        bits: u32,
        /// Whether it can be negative.
        signed: bool,
    },
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// None: the kernel alone sets it.
    Unsettable,
}

/// A value of a [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Boolean(bool),
    /// Text.
    Text(String),
    /// A number that its kind can hold.
    Number {
        /// The number.
        value: i128,
        /// As in [`Kind::Number`].
        bits: u32,
        /// As in [`Kind::Number`].
        signed: bool,
    },
    /// IPv4 addresses.
    Ipv4(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Ipv6(Vec<Ipv6Addr>),
}

/// The words of a [`Kind::Choice`], in the order of the kernel's numbers (`JAIL_SYS_DISABLE` and following).
const CHOICES: [&str; 3] = ["disable", "new", "inherit"];

impl Kind {
    /// What values there are, for a person: follows "must be".
    pub fn wanted(self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Choice => "disable, new or inherit".to_owned(),
            Kind::Text(longest) => format!("text of at most {longest} bytes"),
            Kind::Number { bits, signed } => {
                let (least, most) = range(bits, signed);
                format!("a whole number from {least} to {most}")
            }
            Kind::Ipv4 => "IPv4 addresses, separated by commas".to_owned(),
            Kind::Ipv6 => "IPv6 addresses, separated by commas".to_owned(),
            Kind::Unsettable => "left to the kernel, which alone sets it".to_owned(),
        }
    }

    /// The value that `text` is; none if it is no value of this kind.
    pub fn parse(self, text: &str) -> Option<Value> {
        match self {
            Kind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Some(Value::Boolean(true)),
                "false" | "off" | "no" | "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            Kind::Choice => {
                let number = CHOICES.iter().position(|word| *word == text).or_else(|| text.parse().ok())?;
                let value = i128::try_from(number).ok()?;
                (number < CHOICES.len()).then_some(Value::Number { value, bits: 32, signed: true })
            }
            Kind::Text(longest) => {
                (text.len() <= longest && !text.contains('\0')).then(|| Value::Text(text.to_owned()))
            }
            Kind::Number { bits, signed } => {
                let (least, most) = range(bits, signed);
                let value = text.parse().ok()?;
                (least..=most).contains(&value).then_some(Value::Number { value, bits, signed })
            }
            Kind::Ipv4 => addresses(text).map(Value::Ipv4),
            Kind::Ipv6 => addresses(text).map(Value::Ipv6),
            Kind::Unsettable => None,
        }
    }
}

/// The least and the greatest number.
fn range(bits: u32, signed: bool) -> (i128, i128) {
    let numbers = 1_i128 << bits;
    if signed { (-numbers / 2, numbers / 2 - 1) } else { (0, numbers - 1) }
}

fn addresses<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(|address| address.trim().parse().ok()).collect()
}

/// Those of one family, as [`Kind::parse`] reads them; none if there are none.
pub fn of_family(addresses: &[IpAddr], is_of_it: fn(&IpAddr) -> bool) -> Option<String> {
    let texts: Vec<String> = addresses.iter().filter(|address| is_of_it(address)).map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i128, bits: u32, signed: bool) -> Option<Value> {
        Some(Value::Number { value, bits, signed })
    }

    #[test]
    fn values_are_of_their_kinds() {
        let byte = Kind::Number { bits: 8, signed: false };
        let int = Kind::Number { bits: 32, signed: true };
        let long = Kind::Number { bits: 64, signed: false };
        let four: Ipv4Addr = "192.0.2.1".parse().unwrap();
        let table = [
            (Kind::Boolean, "true", Some(Value::Boolean(true))),
            (Kind::Boolean, "On", Some(Value::Boolean(true))),
            (Kind::Boolean, "0", Some(Value::Boolean(false))),
            (Kind::Boolean, "", None),
            (Kind::Boolean, "2", None),
            (Kind::Choice, "disable", number(0, 32, true)),
            (Kind::Choice, "inherit", number(2, 32, true)),
            (Kind::Choice, "1", number(1, 32, true)),
            (Kind::Choice, "3", None),
            (Kind::Choice, "true", None),
            (Kind::Text(3), "abc", Some(Value::Text("abc".to_owned()))),
            (Kind::Text(3), "", Some(Value::Text(String::new()))),
            (Kind::Text(3), "abcd", None),
            (Kind::Text(3), "a\0", None),
            (byte, "255", number(255, 8, false)),
            (byte, "256", None),
            (byte, "-1", None),
            (int, "-1", number(-1, 32, true)),
            (int, "2147483648", None),
            (int, "2147483647", number(2_147_483_647, 32, true)),
            (int, "1x", None),
            (int, " 1", None),
            (int, "", None),
            (long, "18446744073709551615", number(u64::MAX.into(), 64, false)),
            (long, "18446744073709551616", None),
            (Kind::Ipv4, "192.0.2.1", Some(Value::Ipv4(vec![four]))),
            (Kind::Ipv4, "192.0.2.1, 127.0.0.1", Some(Value::Ipv4(vec![four, Ipv4Addr::LOCALHOST]))),
            (Kind::Ipv4, "::1", None),
            (Kind::Ipv4, "", None),
            (Kind::Ipv4, "192.0.2.1,", None),
            (Kind::Ipv4, "lo1|192.0.2.1/32", None),
            (Kind::Ipv6, "::1", Some(Value::Ipv6(vec![Ipv6Addr::LOCALHOST]))),
            (Kind::Ipv6, "127.0.0.1", None),
            (Kind::Unsettable, "1", None),
        ];
        for (kind, text, expected) in table {
            assert_eq!(kind.parse(text), expected, "{kind:?} {text:?}");
        }
    }

    #[test]
    fn people_are_told_what_is_wanted() {
        let table = [
            (Kind::Number { bits: 32, signed: true }, "a whole number from -2147483648 to 2147483647"),
            (Kind::Number { bits: 16, signed: false }, "a whole number from 0 to 65535"),
            (Kind::Text(255), "text of at most 255 bytes"),
            (Kind::Choice, "disable, new or inherit"),
        ];
        for (kind, wanted) in table {
            assert_eq!(kind.wanted(), wanted);
        }
    }

    #[test]
    fn families_are_told_apart() {
        let all: Vec<IpAddr> = addresses("::1,192.0.2.1,127.0.0.1").unwrap();
        assert_eq!(of_family(&all, IpAddr::is_ipv4).as_deref(), Some("192.0.2.1,127.0.0.1"));
        assert_eq!(of_family(&all, IpAddr::is_ipv6).as_deref(), Some("::1"));
        assert_eq!(of_family(&all[..1], IpAddr::is_ipv4), None);
    }
}
