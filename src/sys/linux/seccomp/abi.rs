//! The ways into a kernel: each has numbers of its own for system calls, and a filter that knows only one of them is none.

use super::default::RULES;
use super::numbers::NUMBERS;

/// One more than the largest number of an ordinary call.
const END: usize = 512;

const NO_RULE: u8 = u8::MAX;

/// The place of the rule for what ordinary programs do.
const ORDINARY: usize = 0;

/// The numbers of system calls for one kind of program. A program changes freely between those of its machine, also while it
/// runs (`int $0x80`).
pub(super) struct Abi {
    /// What the kernel calls it (`AUDIT_ARCH_…`).
    pub audit: u32,
    /// Calls beyond the ordinary ones that every program may make: the first, and the one after the last.
    own: Option<(u32, u32)>,
    /// Which rule each number falls under.
    rules: [u8; END],
}

/// amd64, then i386. x32 programs have the kernel's name and numbers of amd64 with bit 30 set, so that they find all calls
/// missing.
#[cfg(any(target_arch = "x86_64", test))]
pub(super) static AMD64: [Abi; 2] = [
    Abi { audit: 0xc000_003e, own: None, rules: rules_by_number(0) },
    Abi { audit: 0x4000_0003, own: None, rules: rules_by_number(1) },
];

/// aarch64, then 32-bit ARM, which has the six calls of its own that flush caches and set the thread's pointer.
#[cfg(any(target_arch = "aarch64", test))]
pub(super) static AARCH64: [Abi; 2] = [
    Abi { audit: 0xc000_00b7, own: None, rules: rules_by_number(2) },
    Abi { audit: 0x4000_0028, own: Some((0xf_0001, 0xf_0007)), rules: rules_by_number(3) },
];

#[cfg(target_arch = "x86_64")]
pub(super) use AMD64 as HERE;

#[cfg(target_arch = "aarch64")]
pub(super) use AARCH64 as HERE;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the numbers of this machine's system calls are not in the table");

impl Abi {
    /// The place in [`RULES`] of the rule for the call with this number, if there is one.
    pub(super) fn rule(&self, number: u32) -> Option<usize> {
        if self.own.is_some_and(|(first, end)| (first..end).contains(&number)) {
            return Some(ORDINARY);
        }
        let rule = self.rules.get(usize::try_from(number).ok()?)?;
        (*rule != NO_RULE).then_some(usize::from(*rule))
    }

    /// Every number at which the rule may change, in ascending order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let own = self.own.into_iter().flat_map(|(first, end)| [first, end]);
        (0..).take(END + 1).chain(own)
    }
}

/// The index of the rule for each number, for the ABI in this column of the table.
const fn rules_by_number(column: usize) -> [u8; END] {
    let mut table = [NO_RULE; END];
    let mut rule = 0;
    while rule < RULES.len() {
        let mut rest = RULES[rule].calls.as_bytes();
        while let Some((name, after)) = next_word(rest) {
            let number = NUMBERS[find(name)].1[column];
            if number >= 0 {
                assert!(table[number as usize] == NO_RULE, "two rules for one call");
                table[number as usize] = rule as u8;
            }
            rest = after;
        }
        rule += 1;
    }
    table
}

/// The first word of `text`, and what follows it.
const fn next_word(mut text: &[u8]) -> Option<(&[u8], &[u8])> {
    while let [b' ' | b'\n', rest @ ..] = text {
        text = rest;
    }
    let mut length = 0;
    while length < text.len() && !matches!(text[length], b' ' | b'\n') {
        length += 1;
    }
    if length == 0 { None } else { Some(text.split_at(length)) }
}

/// The place of a call in the table of numbers.
const fn find(name: &[u8]) -> usize {
    let (mut low, mut high) = (0, NUMBERS.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match order(NUMBERS[middle].0.as_bytes(), name) {
            0 => return middle,
            1 => high = middle,
            _ => low = middle + 1,
        }
    }
    panic!("a rule names a call that is not in the table of numbers")
}

/// 0 if `a` and `b` are the same, 1 if `a` comes later, else -1.
const fn order(a: &[u8], b: &[u8]) -> i32 {
    match (a, b) {
        ([], []) => 0,
        ([], _) => -1,
        (_, []) => 1,
        ([x, ..], [y, ..]) if *x != *y => {
            if *x > *y {
                1
            } else {
                -1
            }
        }
        ([_, a @ ..], [_, b @ ..]) => order(a, b),
    }
}
