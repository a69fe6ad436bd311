use std::collections::BTreeMap;

use super::abi::{AARCH64, AMD64};
use super::default::RULES;
use super::numbers::NUMBERS;
use super::*;

const AMD64_ARCH: u32 = 0xc000_003e;
const I386_ARCH: u32 = 0x4000_0003;
const AARCH64_ARCH: u32 = 0xc000_00b7;
const ARM_ARCH: u32 = 0x4000_0028;

/// What appc gives an app that asks for nothing.
const USUAL: [&str; 4] = ["CAP_CHOWN", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_CHROOT"];

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Allowed,
    Fails(i32),
    Killed,
}
use Fate::{Allowed, Fails, Killed};

const EPERM: Fate = Fails(libc::EPERM);
const ENOSYS: Fate = Fails(libc::ENOSYS);
const EAFNOSUPPORT: Fate = Fails(libc::EAFNOSUPPORT);

/// A call as the filter sees it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    arch: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Seen {
    /// The four bytes at this offset of `struct seccomp_data`, on a little-endian machine.
    fn word(&self, offset: u32) -> u32 {
        let argument = |i: u32| self.arguments[i as usize];
        match offset {
            0 => self.number,
            4 => self.arch,
            _ if offset.is_multiple_of(8) => argument((offset - 16) / 8) as u32,
            _ => (argument((offset - 16) / 8) >> 32) as u32,
        }
    }
}

/// Interprets the program as the kernel does; also gives the number of instructions that it took.
fn interpret(filter: &Filter, seen: &Seen) -> (Fate, usize) {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    loop {
        let libc::sock_filter { code, jt, jf, k } = filter.0[at];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        (at, steps) = (at + 1, steps + 1);
        match u32::from(code) {
            0x20 => accumulator = seen.word(k),
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x06 => break,
            other => panic!("instruction {other:#x}"),
        }
    }
    let k = filter.0[at - 1].k;
    let fate = match k & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => Allowed,
        libc::SECCOMP_RET_ERRNO => Fails((k & libc::SECCOMP_RET_DATA) as i32),
        libc::SECCOMP_RET_KILL_PROCESS => Killed,
        other => panic!("action {other:#x}"),
    };
    (fate, steps)
}

fn filter(abis: &[Abi], capabilities: &[&str]) -> Filter {
    filter_for(abis, &capabilities.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

/// The fate of a call by its number.
fn fate(filter: &Filter, arch: u32, number: u32, arguments: &[u64]) -> Fate {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    interpret(filter, &Seen { arch, number, arguments: all }).0
}

fn number(arch: u32, name: &str) -> u32 {
    let column = [AMD64_ARCH, I386_ARCH, AARCH64_ARCH, ARM_ARCH].iter().position(|a| *a == arch).unwrap();
    let (_, numbers) = NUMBERS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no call {name}"));
    u32::try_from(numbers[column]).unwrap_or_else(|_| panic!("{name} has no number in {arch:#x}"))
}

#[test]
fn names_are_sorted_and_each_has_one_rule() {
    assert!(NUMBERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut rules: BTreeMap<&str, usize> = NUMBERS.iter().map(|(name, _)| (*name, 0)).collect();
    for name in RULES.iter().flat_map(|rule| rule.calls.split_whitespace()) {
        *rules.get_mut(name).unwrap_or_else(|| panic!("no call {name}")) += 1;
    }
    let wrong: Vec<_> = rules.into_iter().filter(|(_, count)| *count != 1).collect();
    assert_eq!(wrong, [], "calls with another number of rules than one");
}

#[test]
fn numbers_are_those_of_the_c_library() {
    for (name, expected) in [
        ("read", libc::SYS_read),
        ("clone", libc::SYS_clone),
        ("unshare", libc::SYS_unshare),
        ("mount", libc::SYS_mount),
        ("bpf", libc::SYS_bpf),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("clone3", libc::SYS_clone3),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
    ] {
        assert_eq!(i64::from(number(HERE[0].audit, name)), expected, "{name}");
    }
}

#[test]
fn capabilities_that_exempt_are_capabilities() {
    for name in RULES.iter().flat_map(|rule| rule.exempt) {
        assert!(name.parse::<caps::Capability>().is_ok(), "{name}");
    }
}

/// Calls, arguments, and their fate without and with all capabilities.
const CALLS: &[(&str, &[u64], Fate, Fate)] = &[
    ("read", &[], Allowed, Allowed),
    ("execve", &[], Allowed, Allowed),
    ("close_range", &[], Allowed, Allowed),
    ("mseal", &[], Allowed, Allowed),
    ("ptrace", &[], Allowed, Allowed),
    ("process_vm_writev", &[], Allowed, Allowed),
    ("mount", &[], EPERM, Allowed),
    ("fsopen", &[], EPERM, Allowed),
    ("open_tree_attr", &[], EPERM, Allowed),
    ("pivot_root", &[], EPERM, Allowed),
    ("setns", &[], EPERM, Allowed),
    ("clone3", &[], ENOSYS, Allowed),
    ("clone", &[0x1200011], Allowed, Allowed),
    ("clone", &[0x003d_0f00], Allowed, Allowed),
    ("clone", &[0x0002_0011], EPERM, Allowed),
    ("clone", &[0x1000_0011], EPERM, Allowed),
    ("clone", &[0x4000_0000], EPERM, Allowed),
    ("clone", &[0xffff_ffff_1000_0011], EPERM, Allowed),
    ("unshare", &[0x0000_0600], Allowed, Allowed),
    ("unshare", &[0x1000_0000], EPERM, Allowed),
    ("unshare", &[0x0000_0080], EPERM, Allowed),
    ("chroot", &[], EPERM, Allowed),
    ("open_by_handle_at", &[], EPERM, Allowed),
    ("init_module", &[], EPERM, Allowed),
    ("finit_module", &[], EPERM, Allowed),
    ("bpf", &[], EPERM, Allowed),
    ("perf_event_open", &[], EPERM, Allowed),
    ("userfaultfd", &[], EPERM, Allowed),
    ("syslog", &[], EPERM, Allowed),
    ("reboot", &[], EPERM, Allowed),
    ("clock_settime", &[], EPERM, Allowed),
    ("kexec_load", &[], EPERM, EPERM),
    ("swapon", &[], EPERM, EPERM),
    ("keyctl", &[], EPERM, EPERM),
    ("add_key", &[], EPERM, EPERM),
    ("request_key", &[], EPERM, EPERM),
    ("io_uring_setup", &[], EPERM, EPERM),
    ("io_uring_enter", &[], EPERM, EPERM),
    ("nfsservctl", &[], ENOSYS, ENOSYS),
    ("ioctl", &[0, 0x5401], Allowed, Allowed),
    ("ioctl", &[0, 0x5412], EPERM, EPERM),
    ("ioctl", &[0, 0xdead_beef_0000_5412], EPERM, EPERM),
    ("ioctl", &[0x5412, 0x541c], EPERM, EPERM),
    ("ioctl", &[0, 0x5423], EPERM, EPERM),
    ("personality", &[0xffff_ffff], Allowed, Allowed),
    ("personality", &[0xffff_ffff_0000_0008], Allowed, Allowed),
    ("personality", &[0x0040_0000], EPERM, EPERM),
    ("personality", &[0x0004_0000], EPERM, EPERM),
    ("socket", &[1, 1, 0], Allowed, Allowed),
    ("socket", &[2, 2, 0], Allowed, Allowed),
    ("socket", &[10, 1, 0], Allowed, Allowed),
    ("socket", &[16, 3, 0], Allowed, Allowed),
    ("socket", &[17, 3, 0], Allowed, Allowed),
    ("socket", &[38, 5, 0], EAFNOSUPPORT, Allowed),
    ("socket", &[40, 1, 0], EAFNOSUPPORT, Allowed),
    ("socket", &[0x1_0000_0028, 1, 0], EAFNOSUPPORT, Allowed),
    ("socketpair", &[1, 1, 0], Allowed, Allowed),
    ("socketpair", &[30, 1, 0], EAFNOSUPPORT, Allowed),
];

#[test]
fn calls_have_their_fate_in_every_abi() {
    let all: Vec<&str> = RULES.iter().flat_map(|rule| rule.exempt.iter().copied()).collect();
    for (abis, archs) in [(&AMD64, [AMD64_ARCH, I386_ARCH]), (&AARCH64, [AARCH64_ARCH, ARM_ARCH])] {
        let (none, all) = (filter(abis, &[]), filter(abis, &all));
        for arch in archs {
            for (name, arguments, without, with) in CALLS {
                if *name == "nfsservctl" && arch == ARM_ARCH || *name == "kexec_file_load" && arch == I386_ARCH {
                    continue;
                }
                let number = number(arch, name);
                assert_eq!(fate(&none, arch, number, arguments), *without, "{arch:#x} {name} {arguments:x?}");
                assert_eq!(fate(&all, arch, number, arguments), *with, "{arch:#x} {name} {arguments:x?}, exempt");
            }
        }
    }
}

#[test]
fn each_capability_exempts_from_its_own_rules_only() {
    let table: [(&str, &[&str]); 6] = [
        ("CAP_SYS_ADMIN", &["mount", "unshare", "clone3", "bpf", "perf_event_open", "syslog"]),
        ("CAP_BPF", &["bpf"]),
        ("CAP_PERFMON", &["perf_event_open"]),
        ("CAP_SYSLOG", &["syslog"]),
        ("CAP_SYS_MODULE", &["delete_module"]),
        ("CAP_NET_ADMIN", &["socket"]),
    ];
    for (capability, expected) in table {
        let filter = filter(&AMD64, &[capability]);
        for name in table.iter().flat_map(|(_, names)| *names) {
            let allowed = fate(&filter, AMD64_ARCH, number(AMD64_ARCH, name), &[0x7e02_0028]) == Allowed;
            assert_eq!(allowed, expected.contains(name), "{capability} {name}");
        }
    }
}

#[test]
fn numbers_without_a_call_are_missing() {
    for (abis, archs) in [(&AMD64, [AMD64_ARCH, I386_ARCH]), (&AARCH64, [AARCH64_ARCH, ARM_ARCH])] {
        let filter = filter(abis, &USUAL);
        for arch in archs {
            for number in [470, 511, 512, 513, 1000, 0x4000_0000 - 1, 0x4000_0000, 0x4000_0027, 0x8000_0000, u32::MAX] {
                assert_eq!(fate(&filter, arch, number, &[]), ENOSYS, "{arch:#x} {number}");
            }
        }
        for number in 0xf_0000..=0xf_0008 {
            let expected = if (1..7).contains(&(number & 0xf)) { Allowed } else { ENOSYS };
            let arm = if abis[0].audit == AARCH64_ARCH { expected } else { ENOSYS };
            assert_eq!(fate(&filter, archs[1], number, &[]), arm, "{number:#x}");
        }
    }
}

#[test]
fn another_abi_is_no_way_around() {
    let filter_here = filter(&AMD64, &USUAL);
    // i386: mount is 21, umount2 52, umount 22, socketcall 102; for amd64 these numbers are harmless calls.
    for number in [21, 22, 52] {
        assert_eq!(fate(&filter_here, AMD64_ARCH, number, &[]), Allowed, "{number}");
        assert_eq!(fate(&filter_here, I386_ARCH, number, &[]), EPERM, "{number}");
    }
    for (what, expected) in [(1, EPERM), (8, EPERM), (2, Allowed), (3, Allowed), (9, Allowed)] {
        assert_eq!(fate(&filter_here, I386_ARCH, 102, &[what]), expected, "{what}");
    }
    let net_admin = filter(&AMD64, &["CAP_NET_ADMIN"]);
    assert_eq!(fate(&net_admin, I386_ARCH, 102, &[1]), Allowed);
    // x32 is amd64 with bit 30: its mount, and its own calls from 512 on.
    for number in [39, 165, 520] {
        assert_eq!(fate(&filter_here, AMD64_ARCH, number | 0x4000_0000, &[]), ENOSYS, "{number}");
    }
    for arch in [0, AARCH64_ARCH, ARM_ARCH, 0xc000_00f3, u32::MAX] {
        assert_eq!(fate(&filter_here, arch, 0, &[]), Killed, "{arch:#x}");
        assert_eq!(fate(&filter_here, arch, 39, &[]), Killed, "{arch:#x}");
    }
}

#[test]
fn the_program_agrees_with_the_rules_for_every_number() {
    for capabilities in [&[][..], &USUAL, &["CAP_SYS_ADMIN"]] {
        for abi in AMD64.iter().chain(&AARCH64) {
            let abis = if AMD64.iter().any(|a| a.audit == abi.audit) { &AMD64 } else { &AARCH64 };
            let filter = filter(abis, capabilities);
            for number in 0..600 {
                let expected = match abi.rule(number).map(|rule| &RULES[rule]) {
                    None => ENOSYS,
                    Some(rule) if rule.exempt.iter().any(|name| capabilities.contains(name)) => Allowed,
                    Some(rule) => match rule.verdict {
                        Verdict::Allow => Allowed,
                        Verdict::Fail(error) => Fails(error),
                        Verdict::If(_) => continue,
                    },
                };
                assert_eq!(fate(&filter, abi.audit, number, &[]), expected, "{:#x} {number}", abi.audit);
            }
        }
    }
}

#[test]
fn the_program_is_short_and_quick() {
    for abis in [&AMD64, &AARCH64] {
        let filter = filter(abis, &USUAL);
        assert!(filter.0.len() < 300, "{} instructions", filter.0.len());
        for abi in abis {
            let steps = |number| interpret(&filter, &Seen { arch: abi.audit, number, arguments: [0; 6] }).1;
            let most = (0..600).map(steps).max().unwrap();
            assert!(most <= 24, "{most} steps");
        }
    }
}

#[test]
fn long_programs_reach_their_leaves() {
    // No two neighbours have the same fate, which differs between the ABIs.
    let fate_of = |abi: &Abi, number: u32| (number + abi.audit) % 7;
    let verdict = |abi: &Abi, number: u32| match fate_of(abi, number) {
        0 => Verdict::Allow,
        1 => default::RULES.iter().find(|rule| rule.calls == "ioctl").unwrap().verdict,
        error => Verdict::Fail(error.cast_signed()),
    };
    let filter = Filter(compile::compile(&AMD64, verdict));
    assert!(filter.0.len() > 1000, "{} instructions", filter.0.len());
    for abi in &AMD64 {
        for number in 0..512 {
            let expected = match fate_of(abi, number) {
                0 => Allowed,
                1 => EPERM,
                error => Fails(error.cast_signed()),
            };
            assert_eq!(fate(&filter, abi.audit, number, &[0, 0x5412]), expected, "{:#x} {number}", abi.audit);
        }
    }
}

/// In a child behind the filter: the number of the first check that fails, from 1. It must not allocate.
fn look_from_behind(filter: &Filter) -> i32 {
    let errno = |result: libc::c_long| if result < 0 { Errno::last_raw() } else { 0 };
    // SAFETY: prctl with these arguments changes a flag of this process.
    let prepared = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if prepared != 0 || install(filter).is_err() {
        return 100;
    }
    // SAFETY: the arguments are numbers, and null pointers where the kernel reads, before which the filter steps in.
    let call = |number: libc::c_long, first: u64, second: u64| unsafe {
        errno(libc::syscall(number, first, second, 0u64, 0u64, 0u64))
    };
    let found = [
        (call(libc::SYS_getpid, 0, 0), 0),
        (call(libc::SYS_clone3, 0, 0), libc::ENOSYS),
        (call(2000, 0, 0), libc::ENOSYS),
        (call(libc::SYS_mount, 0, 0), libc::EPERM),
        (call(libc::SYS_unshare, 0x1000_0000, 0), libc::EPERM),
        (call(libc::SYS_unshare, 0x600, 0), 0),
        (call(libc::SYS_bpf, 0, 0), libc::EPERM),
        (call(libc::SYS_io_uring_setup, 1, 0), libc::EPERM),
        (call(libc::SYS_keyctl, 0, 0), libc::EPERM),
        (call(libc::SYS_socket, 38, 5), libc::EAFNOSUPPORT),
        (call(libc::SYS_socket, 1, 1), 0),
        (call(libc::SYS_ioctl, 0, 0x5412), libc::EPERM),
        (call(libc::SYS_personality, 0xffff_ffff, 0), 0),
    ];
    let wrong = found.iter().chain(&foreign_calls()).position(|(errno, expected)| errno != expected);
    wrong.map_or(0, |index| i32::try_from(index).unwrap_or(98) + 1)
}

/// Calls by other ABIs of this machine: the error that each gives, and the one that it should.
#[cfg(target_arch = "x86_64")]
fn foreign_calls() -> [(i32, i32); 6] {
    let i386 = |number: i32, first: i32| {
        let mut result = number;
        // SAFETY: the interrupt changes eax, and r8 to r11 on old kernels; rbx is the compiler's and is put back.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
                first = inout(reg) i64::from(first) => _,
                inout("eax") result, in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        if result < 0 { -result } else { 0 }
    };
    // A kernel without i386 programs has no calls at all for them.
    let or_none = |errno: i32| if i386(20, 0) == 0 { errno } else { libc::ENOSYS };
    // SAFETY: getpid has no arguments.
    let x32 = unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) };
    [
        (i386(20, 0), or_none(0)),
        (i386(21, 0), or_none(libc::EPERM)),
        (i386(102, 1), or_none(libc::EPERM)),
        (i386(310, 0x1000_0000), or_none(libc::EPERM)),
        (i386(435, 0), libc::ENOSYS),
        (if x32 < 0 { Errno::last_raw() } else { 0 }, libc::ENOSYS),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_calls() -> [(i32, i32); 0] {
    []
}

#[test]
fn the_kernel_takes_the_filter_and_obeys_it() {
    use super::super::super::process::{Exit, fork, wait};
    let filter = default_filter(&USUAL.map(str::to_owned));
    let child = fork(|| look_from_behind(&filter)).unwrap();
    assert_eq!(wait(child).unwrap(), Exit::Code(0), "the number of the check that failed");
}
