//! From verdicts to the program that the kernel runs on every system call (classic BPF).
//!
//! Calls with the same fate and neighbouring numbers make a range, and a binary search finds the range of a number: a call
//! costs about eight comparisons, not a few hundred. All that stands before a verdict are comparisons with constants; Linux
//! 5.11 and newer see by them which calls are always allowed, and do not run the program for those at all. To find that out,
//! and to translate the program, is most of what it costs to install it, so that short programs make apps start sooner.

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use super::abi::Abi;
use super::default::{Check, Test, Verdict};

/// Where the number of the call is in what the program sees (`struct seccomp_data`).
const NUMBER: u32 = 0;

/// Where the ABI is.
const ARCH: u32 = 4;

/// Where the lower half of the first argument is; each has 8 bytes.
const FIRST_ARGUMENT: u32 = 16;

/// How far a conditional jump is let go. It could go 255 instructions, but another jump may still come between.
const FAR: usize = 254;

/// The program for these ABIs, in the order in which they are looked for. There is no other; whoever uses one is killed.
pub(super) fn compile(abis: &[Abi], verdict: impl Fn(&Abi, u32) -> Verdict) -> Vec<sock_filter> {
    let mut program = Program::default();
    let mut start = program.push(give(libc::SECCOMP_RET_KILL_PROCESS));
    for abi in abis.iter().rev() {
        let root = program.tree(&ranges(abi, &verdict));
        let search = program.load(NUMBER, root);
        start = program.choose(BPF_JEQ, abi.audit, search, start);
    }
    program.load(ARCH, start);
    program.backwards.reverse();
    program.backwards
}

/// The first number of each range, with what becomes of all in it, from 0 on.
fn ranges(abi: &Abi, verdict: impl Fn(&Abi, u32) -> Verdict) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::with_capacity(128);
    for number in abi.numbers() {
        let verdict = verdict(abi, number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    ranges
}

/// A program that is written from its end to its beginning, as jumps go forward only: where they lead is known by then. A
/// place is an index into what has been written.
#[derive(Default)]
struct Program {
    backwards: Vec<sock_filter>,
    leaves: Vec<(Verdict, usize)>,
}

impl Program {
    fn push(&mut self, instruction: sock_filter) -> usize {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }

    /// The search for a number among `ranges`, of which there is at least one.
    fn tree(&mut self, ranges: &[(u32, Verdict)]) -> usize {
        if let [(_, verdict)] = ranges {
            return self.leaf(*verdict);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (yes, no) = (self.tree(high), self.tree(low));
        self.choose(BPF_JGE, high[0].0, yes, no)
    }

    /// Where `verdict` is given: once in the program.
    fn leaf(&mut self, verdict: Verdict) -> usize {
        if let Some((_, place)) = self.leaves.iter().find(|(known, _)| *known == verdict) {
            return *place;
        }
        let place = match verdict {
            Verdict::Allow => self.push(give(libc::SECCOMP_RET_ALLOW)),
            Verdict::Fail(error) => self.push(give(libc::SECCOMP_RET_ERRNO | error.unsigned_abs())),
            Verdict::If(check) => self.question(check),
        };
        self.leaves.push((verdict, place));
        place
    }

    fn question(&mut self, check: &Check) -> usize {
        let (allow, fail) = (self.leaf(Verdict::Allow), self.leaf(Verdict::Fail(check.error)));
        let (values, comparison, yes, no) = match check.test {
            Test::OneOf(values) => (values, BPF_JEQ, allow, fail),
            Test::NoneOf(values) => (values, BPF_JEQ, fail, allow),
            Test::Without(ref bits) => (std::slice::from_ref(bits), BPF_JSET, fail, allow),
        };
        let first = values.iter().rev().fold(no, |rest, value| self.choose(comparison, *value, yes, rest));
        self.load(FIRST_ARGUMENT + 8 * check.argument, first)
    }

    /// Goes on at `yes` if the comparison with `value` holds, else at `no`.
    fn choose(&mut self, comparison: u32, value: u32, yes: usize, no: usize) -> usize {
        let (yes, no) = (self.within(FAR, yes), self.within(FAR, no));
        let distance = |place: usize| u8::try_from(self.backwards.len() - place - 1).unwrap_or(u8::MAX);
        self.push(instruction(BPF_JMP | comparison | BPF_K, distance(yes), distance(no), value))
    }

    /// Reads a word of what the program sees, and goes on at `next`.
    fn load(&mut self, offset: u32, next: usize) -> usize {
        self.within(1, next);
        self.push(instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset))
    }

    /// `place`, or a jump to it if it is more than `most` instructions away.
    fn within(&mut self, most: usize, place: usize) -> usize {
        let distance = self.backwards.len() - place;
        if distance <= most {
            return place;
        }
        self.push(instruction(BPF_JMP | BPF_JA, 0, 0, u32::try_from(distance - 1).unwrap_or(u32::MAX)))
    }
}

fn give(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, action)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}
